"""What a run is when no settings file says it, and the settings files that ship."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from braid.comparison import read_comparison
from braid.errors import UserError
from braid.files import shipped
from braid.training import default_run, run_from
from conftest import Ran


@pytest.mark.parametrize(("rows", "captions", "batch"), [(60, 1, 16), (1200, 1, 40), (3000, 1, 64), (700, 20, 16), (3000, 5, 64)])
def test_a_step_of_captioning_has_rows_as_the_data_allows(rows: int, captions: int, batch: int, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    lines = [
        {"id": str(k), "image": "one.png", "captions": ["a"] * captions, "split": "train", "question": "q"} for k in range(rows)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert default_run("captioning", {"path": str(tmp_path / "rows.jsonl")})["batch_size"] == batch


def test_presets_and_saved_models_have_different_names() -> None:
    with pytest.raises(UserError) as error:
        run_from({"task": "captioning", "data": {"path": "scenes:captioning"}, "model": "small"})
    assert str(error.value) == (
        "'small' is a saved model, not a preset; begin with it by --start small; its old preset is called compact"
    )


def test_recipes_ship_with_braid(braid: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no folder recipes/ here
    listed = [json.loads(line) for line in braid("recipes", "--json").out.splitlines()]
    assert {"sentiment", "compare-scenes", "small/2-captions"} <= {one["recipe"] for one in listed}
    assert all(one["about"] for one in listed)
    assert braid("recipes", "sentiment").out == Path(shipped(Path("recipes/sentiment.yaml"))).read_text(encoding="utf-8")
    assert read_comparison(Path("recipes/compare-scenes.yaml")).vary
    wrong = braid("recipes", "sentimen")
    assert wrong.code == 1 and "did you mean 'sentiment'?" in wrong.err
