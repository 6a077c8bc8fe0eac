"""A row that cannot be read ends nothing: it is told once, counted, and listed; and no row is lost in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from braid.datasets import open_dataset
from braid.errors import UserError
from braid.records import Prediction, Sample
from braid.skipped_rows import SHOWN, SkippedRows
from braid.tasks import Captioning, VisualQuestionAnswering
from braid.training import Watcher, run_from, train
from conftest import Ran

Braid = Callable[..., Ran]


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """16 pictures for training and 4 for val; two of the first and one of the second are damaged, one is missing."""
    lines = []
    for k in range(20):
        Image.new("RGB", (32, 32), (12 * k, 40, 90)).save(tmp_path / f"{k}.png")
        lines.append({"image": f"{k}.png", "captions": [f"picture {k}"], "split": "val" if k > 15 else "train"})
    for k in (3, 11, 17):
        (tmp_path / f"{k}.png").write_bytes(b"\x89PNG broken")
    lines.append({"image": "gone.png", "captions": ["gone"], "split": "train"})
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "data.jsonl"


def settings(data: Path, **more: Any) -> dict[str, Any]:
    return {
        "task": {"kind": "captioning", "generation": {"max_length": 12}},
        "data": {"path": str(data)},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "tokenizer": {"vocab_size": 300},
        "epochs": 3,
        "batch_size": 4,
        "workers": 0,
        "threads": 1,
        **more,
    }


def listed(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_lists_each_row_once_whatever_the_epochs_and_resumes(spoilt: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    folder = tmp_path / "run"
    outcome = train(run_from(settings(spoilt)), folder, watcher=Watcher(on_note=notes.append))
    rows = listed(folder / "skipped_rows.jsonl")
    assert rows[0] == {"source": "data.jsonl, row 21", "reason": f"{tmp_path / 'gone.png'} does not exist; check column 'image'"}
    wanted = ["data.jsonl, row 12", "data.jsonl, row 18", "data.jsonl, row 21", "data.jsonl, row 4"]
    assert sorted(row["source"] for row in rows) == wanted
    assert all(row["reason"].startswith(str(tmp_path)) for row in rows)
    assert outcome.skipped_rows == 4
    message = [note for note in notes if note.startswith("skipped: ")]
    assert sorted(note.split(": ")[1] for note in message) == wanted
    train(run_from(settings(spoilt, epochs=4)), folder, resume=True, watcher=Watcher(on_note=notes.append))
    assert listed(folder / "skipped_rows.jsonl") == rows
    assert [note for note in notes if note.startswith("skipped: ")] == message


@pytest.mark.parametrize("workers", [0, 1])
def test_strict_training_stops_with_the_row_s_own_message(workers: int, spoilt: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        train(run_from(settings(spoilt, strict=True)), tmp_path / "run")
    assert str(caught.value) == f"data.jsonl, row 21: {tmp_path / 'gone.png'} does not exist; check column 'image'"
    spoilt.write_text("".join(line + "\n" for line in spoilt.read_text().splitlines()[:-1]))
    with pytest.raises(UserError) as caught:
        train(run_from(settings(spoilt, strict=True, workers=workers)), tmp_path / "run")
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).startswith("data.jsonl, row ")


def test_the_command_line_counts_and_names_the_list(braid: Braid, captioner: Path, spoilt: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(json.dumps(settings(spoilt, epochs=1)))
    ran = braid("train", tmp_path / "run.yaml", "-o", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    assert f"4 rows were skipped; {tmp_path / 'run' / 'skipped_rows.jsonl'} lists them" in ran.err
    assert json.loads(ran.out)["num_skipped"] == 4
    strict = braid("train", tmp_path / "run.yaml", "-o", tmp_path / "strict", "--strict")
    assert (strict.code, strict.err.count("data.jsonl, row 21: ")) == (1, 1)
    out = tmp_path / "lists" / "evaluate.jsonl"
    ran = braid("evaluate", "--data", spoilt, "-m", captioner, "--skipped-rows", out)
    assert ran.code == 0, ran.err
    assert f"2 rows were skipped; {out} lists them" in ran.err
    assert [row["source"] for row in listed(out)] == ["data.jsonl, row 21", "data.jsonl, row 18"]
    ran = braid("caption", tmp_path / "3.png", tmp_path / "4.png", tmp_path / "gone.png", "-m", captioner, "--skipped-rows", out)
    assert ran.code == 1
    assert f"2 rows were skipped; {out} lists them" in ran.err
    assert [Path(row["source"]).name for row in listed(out)] == ["3.png", "gone.png"]
    ran = braid("caption", tmp_path / "4.png", "-m", captioner, "--skipped-rows", out)
    assert (ran.code, "skipped" in ran.err, out.read_text()) == (0, False, "")


def test_thousands_of_rows_are_counted_and_not_all_told(tmp_path: Path) -> None:
    notes: list[str] = []
    skipped_rows = SkippedRows(notes.append)
    for _ in range(2):
        skipped_rows.add((f"row {k}", f"row {k}: is empty") for k in range(5000))
    skipped_rows.save(tmp_path / "skipped_rows.jsonl")
    assert len(skipped_rows) == len(listed(tmp_path / "skipped_rows.jsonl")) == 5000
    assert len(notes) == SHOWN + 1
    assert notes[0] == "skipped: row 0: is empty"
    assert notes[-1] == "skipped: more rows, which are counted and listed but no longer reported one by one"


def test_rows_that_share_an_id_are_scored_each() -> None:
    samples = [Sample("7", {}, {}, ("a dog runs",)), Sample("7", {}, {}, ("two cats sleep",))]
    predictions = [Prediction("7", text="a dog runs"), Prediction("7", text="a bird")]
    result = VisualQuestionAnswering().score(predictions, samples)
    assert (result["accuracy"], result["vqa-accuracy"], result["num_samples"]) == (50, 50, 2)
    metrics = Captioning().score(predictions, samples)
    assert metrics["num_samples"] == 2
    assert 0 < metrics["rouge-l"] < 100


def test_pictures_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "data.csv").write_text("image,caption\na/1.png,x\nb/1.png,y\nb/2.png,z\na/1.png,w\n")
    ids = [example.id for example in open_dataset(tmp_path / "data.csv").examples]
    assert ids == ["a/1.png", "b/1.png", "2.png"]
