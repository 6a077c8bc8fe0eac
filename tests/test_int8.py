"""8 bit weights: what they change is measured, a batch changes nothing, and what is refused leaves nothing behind."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx import load_model as load_graph
from typer.testing import CliRunner

from bad.case import make_home
from braid import cli
from braid.api import load
from braid.bundle import Bundle, find_bundle, read_bundle
from braid.errors import UserError
from braid.records import Example
from braid.runtime.export import export_int8
from braid.runtime.parity import Bounds, Parity, compare
from braid.runtime.quantize import BLOCK, SMALL, in_blocks
from conftest import shapes_unchecked


@pytest.fixture(scope="module")
def int8(captioner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that was trained on captions of scenes, in 8 bit."""
    folder = tmp_path_factory.mktemp("int8") / "model"
    with shapes_unchecked():
        ran = CliRunner().invoke(cli.app, ["export", str(captioner), "-o", str(folder), "--int8", "--limit", "24"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert re.search(r"captioning +scenes +24 ", ran.output)
    return folder


def test_parity_is_measured_and_within_bounds(int8: Path) -> None:
    message = json.loads((int8 / "parity.json").read_text())
    bounds = Bounds(**message["bounds"])
    (one,) = message["tasks"]
    assert (one["task"], one["data"], one["rows"]) == ("captioning", "scenes", 24)
    assert 0 < one["mean"] <= min(one["largest"], bounds.difference * one["spread"])
    assert one["equal"] >= bounds.equal
    assert one["cider"][0] > 0
    assert one["cider"][0] - one["cider"][1] <= bounds.cider


def test_matrices_have_8_bits_and_lie_in_one_file(int8: Path) -> None:
    for name in ("start", "step"):
        graph = load_graph(int8 / f"text.{name}.onnx", load_external_data=False).graph
        assert {"MatMulNBits", "GatherBlockQuantized"} <= {node.op_type for node in graph.node}
        wide = [math.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]
        assert max(wide) < SMALL
    assert read_bundle(int8).interface.card.name == "toy"


def test_a_model_beside_itself_differs_in_nothing() -> None:
    small = read_bundle(find_bundle("small"))
    result = {one.task: one for one in compare(small, small, [], "", 4, lambda parts, total: parts)}
    assert set(result) == {"captioning", "retrieval", "vqa"}
    assert all((one.rows, one.largest, one.mean) == (4, 0.0, 0.0) and one.spread > 0 for one in result.values())
    assert result["captioning"].equal == result["vqa"].equal == 1.0
    assert result["retrieval"].cosine == pytest.approx(1.0)
    assert result["captioning"].cider is not None


def test_a_batch_answers_what_single_rows_do(int8: Path, photos: Path) -> None:
    """A scale of activations is that of one row, whatever stands beside it."""
    model = load(int8)
    task = model.task("captioning")
    samples = [task.prepare(Example(str(row), {"image": photos / f"{row}.png"})) for row in range(5)]
    decoder: Any = model.runtime.decoder("text")
    tokens = np.arange(5)[:, None] + 3
    together, _ = decoder.step(tokens, decoder.start(model.collator(samples).batch))
    for row, sample in enumerate(samples):
        alone, _ = decoder.step(tokens[row : row + 1], decoder.start(model.collator([sample]).batch))
        assert np.abs(alone[0] - together[row]).max() < 1e-6


def test_it_runs_where_importing_torch_is_an_error(int8: Path, photos: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from braid.api import load\n"
        f"print(load({str(int8)!r}).caption({str(photos / '0.png')!r}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == load(int8).caption(photos / "0.png")


@pytest.mark.parametrize("size", [0, 1000])
def test_weights_that_are_gone_or_cut_short_are_named(int8: Path, photos: Path, tmp_path: Path, size: int) -> None:
    shutil.copytree(int8, tmp_path / "model")
    store = tmp_path / "model" / "weights.int8"
    store.unlink() if size == 0 else store.write_bytes(store.read_bytes()[:size])
    with pytest.raises(UserError, match=r"model/weights\.int8 is missing or cut short; copy it again$"):
        load(tmp_path / "model").caption(photos / "0.png")


def test_a_broken_bound_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    before = sorted((tmp_path / "home").iterdir())
    rows = [Example(str(row), {"image": photos / f"{row}.png"}) for row in range(3)]

    def judge(exact: Bundle, rough: Bundle) -> None:
        for one in compare(exact, rough, rows, "photos", 3, lambda parts, total: parts):
            one.check(Bounds(difference=1e-6))

    with pytest.raises(UserError, match="captioning too much: logits differ by .*Nothing was written"), shapes_unchecked():
        export_int8(read_bundle(tmp_path / "home" / "model"), tmp_path / "home" / "int8", judge)
    assert sorted((tmp_path / "home").iterdir()) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": float("nan")}, "logits differ by nan in the mean, the bound is 0.03"),
        ({"equal": 0.5}, "50.0% of the answers are equal, the bound is 90%"),
        ({"cosine": 0.9}, "two embeddings have a cosine of 0.900, the bound is 0.999"),
        ({"cider": (70.0, 60.0)}, "CIDEr falls from 70.00 to 60.00, the bound is a loss of 1"),
    ],
)
def test_each_bound_is_named_with_the_figure_that_breaks_it(change: dict[str, Any], message: str) -> None:
    held = Parity("captioning", "scenes", 100, 1.0, 0.02, 1.0, equal=0.9, cosine=0.9999, cider=(70.0, 69.5))
    held.check(Bounds())
    with pytest.raises(UserError) as raised:
        replace(held, **change).check(Bounds())
    assert str(raised.value) == f"8 bit weights change captioning too much: {message}. Nothing was written; use fp32"


def test_a_matrix_in_blocks_is_off_by_half_a_step_at_most() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 3 * BLOCK - 7)).astype(np.float32)
    matrix[2] = 0
    values, scales = in_blocks(matrix)
    back = ((values.astype(np.float32) - 128) * scales[..., None]).reshape(5, -1)
    assert np.abs(back[:, : matrix.shape[1]] - matrix).max() <= scales.max() / 2 * 1.001
    assert (back[:, matrix.shape[1] :] == 0).all()
    assert (back[2] == 0).all()
