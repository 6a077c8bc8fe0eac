"""The house rules that no linter knows: sizes, the tree in the docs, what a start-up imports."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from PIL import Image

from braid.generation import log_softmax
from braid.training import read_run

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "braid"
LONGEST = 450  # lines
CODE = {".py", ".js", ".css", ".html"}
WEIGHTS_AND_DATA = {".pt", ".pth", ".pkl", ".npy", ".npz", ".bin", ".jpg", ".jpeg", ".zip", ".gz"}


def committed() -> list[Path]:
    """What git tracks or would add; skips where there is no git to say."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here to say which files are the project's")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in committed() if path.suffix in CODE}
    assert lengths
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_data_photos_or_pickles_are_tracked() -> None:
    assert [str(path) for path in committed() if path.suffix.lower() in WEIGHTS_AND_DATA] == []


def test_only_the_built_in_checkpoints_are_big() -> None:
    big = [path for path in committed() if path.stat().st_size > 2_000_000]
    assert [str(path) for path in big if PACKAGE / "checkpoints" not in path.parents] == []


def drawn_tree() -> list[str]:
    """The paths of the annotated tree in docs/house.md, relative to the repository."""
    block = re.search(r"```\n(.*?)```", (ROOT / "docs" / "house.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block, "docs/house.md has no tree"
    paths: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in block[1].splitlines():
        result = re.match(r"([\s│├└─]*)([\w./-]+)", line)
        if not result or line.lstrip(" │").startswith("#"):
            continue
        column, name = len(result[1]), result[2]
        parents = [parent for parent in parents if parent[0] < column]
        paths.append("/".join([*(parent.rstrip("/") for _, parent in parents), name]))
        if name.endswith("/"):
            parents.append((column, name))
    return paths


def test_the_drawn_tree_is_on_disk() -> None:
    assert [path for path in drawn_tree() if not (ROOT / path).exists()] == []


def test_the_drawn_tree_names_every_page_of_the_docs() -> None:
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if ".zh." not in path.name]
    assert sorted(name for name in pages if f"docs/{name}" not in drawn_tree()) == []


def test_the_drawn_tree_names_every_part_of_the_package() -> None:
    generated = {(ROOT / path).resolve() for path in drawn_tree()}
    parts = {path for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and not path.name.startswith("__")}
    assert sorted(part.name for part in parts - generated) == []


@pytest.mark.parametrize(
    "start", ["import braid", "import braid.cli", "import sys, runpy; sys.argv[1:] = ['--help']; runpy.run_module('braid')"]
)
def test_a_start_up_imports_nothing_heavy(start: str) -> None:
    light = "numpy|PIL|tokenizers|jaxtyping"  # together a tenth of a second
    heavy = f"{light}|torch|onnx|onnxruntime|onnxscript|skimage|scipy|transformers|fastapi|uvicorn|starlette|prometheus_client"
    code = f"try:\n {start}\nexcept SystemExit: pass\nimport sys\nprint([m for m in '{heavy}'.split('|') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_caption_imports_nothing_that_it_has_no_use_for(tmp_path: Path) -> None:
    """typer brings pydantic from 0.28 on, jaxtyping ``unittest.mock``: each would be a tenth of the start."""
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "photo.png")
    run = f"sys.argv[1:] = ['caption', {str(tmp_path / 'photo.png')!r}, '--json']; runpy.run_module('braid')"
    unused = "torch|onnx|pydantic|jaxtyping|unittest.mock|asyncio|scipy|transformers"
    code = (
        f"import sys, runpy\ntry:\n {run}\nexcept SystemExit: pass\nprint([m for m in '{unused}'.split('|') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, left = result.stdout.splitlines()
    assert json.loads(said)["text"] and left == "[]"


def test_a_training_imports_nothing_of_torchs_compiler(tmp_path: Path) -> None:
    """It would be two seconds of every run."""
    settings = {
        "task": "classification",
        "data": {"path": "scenes:classification,train=8,val=4,test=1,compositional=1,size=32"},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "tokenizer": {"vocab_size": 300},
        "epochs": 2,
        "workers": 0,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    run = f"sys.argv[1:] = ['train', {str(tmp_path / 'run.yaml')!r}, '--output', {str(tmp_path / 'run')!r}]"
    unused = "torch._dynamo|torch._inductor|torch.distributed.fsdp|torch.distributed.tensor|sympy"
    code = (
        f"import sys, runpy; {run}\ntry:\n runpy.run_module('braid')\nexcept SystemExit as left: assert not left.code\n"
        f"print([m for m in '{unused}'.split('|') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "run" / "best").is_dir() and result.stdout.splitlines()[-1] == "[]"


def test_shapes_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError, match=r"logits"):
        log_softmax(np.zeros((2, 3), np.int64))


def test_import_braid_is_lazy() -> None:
    code = "import braid, sys; print('numpy' in sys.modules, braid.__version__, 'braid.api' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split()[::2] == ["False", "False"]


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "src" / "braid" / "recipes").glob("*/[0-9]-*.yaml")), ids=lambda path: path.stem
)
def test_a_recipe_can_be_read(recipe: Path) -> None:
    assert read_run(recipe, ["initialize={}"]).task.kind  # the runs that one begins with are not here


@pytest.mark.parametrize("page", ["security.md", "situations.md"])
def test_a_page_names_tests_that_exist(page: str) -> None:
    """``test_x.py::test_y``, or the beginning of the name of a test."""
    files = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("test_*.py")}
    named = re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    for file, test in named:
        assert f"def {test}" in (files[file] if file else "".join(files.values())), (file, test)


@pytest.mark.parametrize("page", sorted((ROOT / "benchmarks" / "results").glob("*.md")), ids=lambda page: page.stem)
def test_the_command_of_a_result_runs_on_any_machine(page: Path) -> None:
    """It names no path of the machine that it was measured on."""
    (command,) = re.findall(r"^Command: `(.*)`", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[:1] or [""]
    assert not [word for word in command.split() if word.startswith("/")]
