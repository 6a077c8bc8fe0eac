"""Training from Python: rows in memory become a table of the run, and the run shows itself."""

import json
import logging
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import braid
from braid.datasets import open_dataset
from braid.datasets.table.memory import kept
from braid.errors import UserError
from braid.media.sound import read_sound
from braid.trained import Run

PHOTO = Image.new("RGB", (12, 8), (200, 30, 30))


def rows_of(data: Any, folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in kept(data, folder).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_dataframe_is_its_rows(frame: Any, tmp_path: Path) -> None:
    columns = {"text": ["a", "b", None], "price": [1.5, None, 3.0], "day": [date(2026, 1, 2)] * 3, "number": [1, 2, 3]}
    assert rows_of(frame(columns), tmp_path) == [
        {"text": "a", "price": 1.5, "day": "2026-01-02", "number": 1},
        {"text": "b", "price": None, "day": "2026-01-02", "number": 2},
        {"text": None, "price": 3.0, "day": "2026-01-02", "number": 3},
    ]


def test_columns_and_dicts_are_rows(tmp_path: Path) -> None:
    expected = [{"text": "a", "tags": ["x", "y"]}, {"text": "b", "tags": []}]
    assert rows_of({"text": np.array(["a", "b"]), "tags": [["x", "y"], []]}, tmp_path / "columns") == expected
    assert rows_of(expected, tmp_path / "rows") == expected
    assert rows_of(iter(expected), tmp_path / "generator") == expected


def test_tables_by_split_have_their_split(tmp_path: Path) -> None:
    tables = {"train": pd.DataFrame({"text": ["a", "b"]}), "val": [{"text": "c"}]}
    assert [row["split"] for row in rows_of(tables, tmp_path)] == ["train", "train", "val"]


def test_hugging_faces_classes_have_names_and_its_photos_stay_as_they_were_encoded(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "red.jpg")
    encoded = (tmp_path / "red.jpg").read_bytes()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])})
    data = datasets.Dataset.from_dict({"image": [{"bytes": encoded, "path": None}] * 2, "label": [1, -1]}, features=features)
    first, second = rows_of(datasets.DatasetDict({"train": data}), tmp_path / "data")
    assert (first["label"], second["label"], first["split"]) == ("red", None, "train")
    assert (tmp_path / "data" / first["image"]).read_bytes() == encoded
    assert first["image"].endswith(".jpg") and first["image"] != second["image"]


def test_media_in_memory_become_files_that_braid_reads(tmp_path: Path) -> None:
    sound = np.sin(np.arange(8000) / 20)
    pixels = np.asarray(PHOTO)
    rows = [
        {"image": PHOTO, "audio": (sound, 16000)},
        {"image": pixels, "audio": {"array": sound, "sampling_rate": 16000, "path": ""}},
    ]
    written = rows_of(rows, tmp_path)
    for row in written:
        assert np.array_equal(np.asarray(Image.open(tmp_path / row["image"])), pixels)
        assert np.abs(read_sound(tmp_path / row["audio"]) - sound).max() < 1e-4
    found = open_dataset(str(tmp_path / "rows.jsonl"))
    assert [Path(example.fields["image"]).is_file() for example in found.examples] == [True, True]


def test_names_of_files_are_found_from_the_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PHOTO.save("red.png")
    (row,) = rows_of([{"image": "red.png", "text": "red.png is red"}], tmp_path / "runs" / "data")
    assert row == {"image": str(tmp_path / "red.png"), "text": "red.png is red"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data has no rows"),
        ({"a": [1, 2], "b": [1]}, "their lengths differ: a 2, b 1"),
        (["a.jpg"], "row 1 is of type str"),
        ([{"clip": np.zeros((2, 4, 4, 3))}], "column 'clip' holds an array of 4 axes and type float64"),
    ],
)
def test_what_is_no_table_is_one_error(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        kept(data, tmp_path)
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    words = ["a good day", "good work", "what a bad day", "bad work"] * 10
    frame = pd.DataFrame({"text": words, "label": ["good" if "good" in text else "bad" for text in words]})
    folder = tmp_path_factory.mktemp("runs") / "words"
    return braid.train(
        frame,
        "classification",
        folder,
        model="tiny",
        epochs=2,
        optimizer={"learning_rate": 1e-3},
        progress=False,
        **{"data.limit_val": 4},
    )


def test_a_run_has_its_model_metrics_and_log(run: Run) -> None:
    assert run.model.classify(text="good day").label in ("good", "bad")
    assert 0 <= run.metrics["accuracy"] <= 100
    log = run.to_pandas()
    assert isinstance(log, pd.DataFrame) and log["epoch"].max() == 1 and log["macro-f1"].notna().sum() == 2
    assert f"accuracy {run.metrics['accuracy']:.2f}" in repr(run)


def test_a_notebook_shows_a_run_and_its_report(run: Run) -> None:
    assert "<td>accuracy</td>" in run._repr_html_()
    assert run.report._repr_html_().startswith("<iframe")
    assert run.report.path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_settings_may_be_nested_and_stand_in_the_run(run: Run) -> None:
    text = (run.folder / "run.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 0.001" in text and "limit_val: 4" in text and "epochs: 2" in text


def test_a_free_folder_is_taken_and_lines_go_to_the_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": text, "label": text[0]} for text in ("a b", "b a", "a a", "b b") * 3]
    with caplog.at_level(logging.INFO, "braid"):
        folders = [braid.train(rows, "classification", model="tiny", epochs=1, progress=False).folder for _ in range(2)]
    assert folders == [Path("runs/data-classification"), Path("runs/data-classification-2")]
    assert any("macro-f1" in record.message for record in caplog.records)
    assert capsys.readouterr().err == ""


def test_predict_adds_columns_to_a_frame_and_keeps_its_index(run: Run) -> None:
    frame = pd.DataFrame({"text": ["a good day", None, "bad work"], "price": [1, 2, 3]}, index=["x", "y", "z"])
    found = braid.predict(frame, run.model)
    assert list(found.columns) == ["text", "price", "prediction", "confidence", "error"] and list(found.index) == ["x", "y", "z"]
    assert list(found["prediction"].isin(["good", "bad"])) == [True, False, True]
    assert "row 2" in found["error"]["y"] and frame.columns.tolist() == ["text", "price"]
    with pytest.raises(UserError, match="row 2"):
        braid.predict(frame, run.model, strict=True)


@pytest.mark.parametrize("kind", ["dicts", "generator", "columns", "polars", "datasets", "file"])
def test_predict_takes_what_train_takes(kind: str, run: Run, tmp_path: Path) -> None:
    columns = {"text": ["a good day", "bad work"]}
    rows = [{"text": text} for text in columns["text"]]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "dicts": rows,
        "generator": iter(rows),
        "columns": columns,
        "polars": pl.DataFrame(columns),
        "datasets": datasets.Dataset.from_dict(columns),
        "file": tmp_path / "words.jsonl",
    }[kind]
    found = braid.predict(data, run.folder)
    assert found["text"].tolist() == columns["text"] and found["prediction"].isin(["good", "bad"]).all()


def test_predict_takes_one_table_at_a_time(run: Run) -> None:
    with pytest.raises(UserError, match="a table for each split"):
        braid.predict({"train": pd.DataFrame({"text": ["a"]}), "val": [{"text": "b"}]}, run.model)


def test_evaluate_is_what_the_command_prints(run: Run) -> None:
    rows = [json.loads(line) for line in (run.folder / "data" / "rows.jsonl").read_text().splitlines()]
    metrics = braid.evaluate(rows, run.model)
    assert metrics["num_samples"] == len(rows) and 0 <= metrics["accuracy"] <= 100


def test_a_model_of_several_tasks_needs_one_named() -> None:
    with pytest.raises(UserError, match=r"choose one with --task \(in Python, task=...\)"):
        braid.predict([{"image": PHOTO}], "small")


def test_a_loaded_model_is_one_line_and_braid_lists_what_it_has() -> None:
    text = repr(braid.load())
    assert len(text) < 200 and "image, prompt -> " in text and "captioning" in text
    assert dir(braid) == ["__version__", "evaluate", "load", "predict", "train"]


def test_a_folder_with_a_run_keeps_its_rows(run: Run) -> None:
    rows = run.folder / "data" / "rows.jsonl"
    before = rows.read_bytes()
    for model in ("tiny", ""):
        with pytest.raises(UserError, match="already holds a run; give resume=True"):
            braid.train([{"text": "other", "label": "x"}], "classification", run.folder, model=model, progress=False)
    assert rows.read_bytes() == before


def test_an_unknown_task_is_one_error() -> None:
    with pytest.raises(UserError, match="there is no task 'photos.csv'"):
        braid.train("captioning", "photos.csv")
