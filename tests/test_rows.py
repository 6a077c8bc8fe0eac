"""Rows that hold several labels, numbers for labels, or not every input; and pictures that several rows share."""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import braid as library
from braid.bundle import read_bundle
from braid.collate import Collator
from braid.datasets import open_dataset
from braid.datasets.table import parse_columns
from braid.errors import UserError
from braid.index import open_index
from braid.modalities import Augmentation, ImageModalityConfig, LabelsModalityConfig
from braid.records import Prediction
from braid.tasks import Captioning, Classification, LanguageModelling, Retrieval
from braid.training import run_from, train
from conftest import Ran
from test_training import TINY
from variants import SIZE, inputs, samples

Braid = Callable[..., Ran]
COLOURS = ("blue", "green", "red")


def posts(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def labels(path: Path, columns: str = "") -> list[Any]:
    return [row.fields["label"] for row in open_dataset(path, parse_columns(columns)).split("all")]


def test_a_cell_of_several_labels_is_a_tuple(tmp_path: Path) -> None:
    given = (["dog", "cat"], "dog|cat", "dog", [], ["dog", "dog", ""], '["a | b"]')
    path = posts(tmp_path, "a.jsonl", [{"text": "x", "labels": one} for one in given])
    assert labels(path) == [("dog", "cat"), ("dog", "cat"), ("dog",), (), ("dog",), ("a | b",)]
    assert labels(posts(tmp_path, "b.jsonl", [{"text": "x", "label": one} for one in (["dog", "cat"], "dog|cat")])) == [
        ("dog", "cat"),
        "dog|cat",  # a bar divides labels where several are meant
    ]
    tagged = posts(tmp_path, "c.csv", [{"text": "x", "label": "one", "tags": one} for one in (" dog | cat|", "", "[]", "|")])
    assert labels(tagged) == ["one"] * 4
    assert labels(tagged, "labels=tags") == [("dog", "cat"), (), ()]
    (skipped_rows,) = open_dataset(tagged, {"labels": "tags"}).skipped
    assert (skipped_rows.source, skipped_rows.reason) == ("c.csv, row 2", "column 'tags' is empty; fill it in or remove the row")


def test_several_labels_are_learned_scored_and_given(braid: Braid, tmp_path: Path) -> None:
    """Any of three colours, or none: what the text says is what the row is labelled with, without a setting."""
    rows = []
    for k in range(160):
        named = [colour for bit, colour in enumerate(COLOURS) if k >> bit & 1]
        split = "val" if k % 5 == 0 else "train"
        rows.append({"text": " and ".join(named) or "nothing", "tags": "|".join(named) or "[]", "split": split})
    path = posts(tmp_path, "posts.csv", rows)
    given = ["--task", "classification", "--data", path, "--columns", "labels=tags"]
    settings = ["epochs=20", "workers=0", "threads=1", "tokenizer.vocab_size=300", "optimizer.learning_rate=4e-3"]
    sets = [part for setting in [*settings, "optimizer.warmup_steps=4"] for part in ("--set", setting)]
    ran = braid("train", *given, "--model", "tiny", *sets, "--output", tmp_path / "run")
    assert ran.code == 0, ran.err
    modality = read_bundle(tmp_path / "run" / "best").interface.outputs["label"]
    assert modality == LabelsModalityConfig(labels=COLOURS, multiple=True)
    ran = braid("evaluate", *given, "-m", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    metrics = json.loads(ran.out)
    assert {"accuracy", "macro-f1", "micro-f1", "auroc"} <= set(metrics)
    assert metrics["num_samples"] == 32  # rows without any label among them
    assert metrics["accuracy"] > 90
    result = json.loads(braid("classify", "--text", "blue and red", "-m", tmp_path / "run", "--json").out)
    assert (result["labels"], result["label"]) == (["blue", "red"], "blue, red")
    assert {label for label, score in result["scores"].items() if score > 0.5} == {"blue", "red"}
    assert "(none)" in braid("classify", "--text", "nothing", "-m", tmp_path / "run").out
    assert library.load(tmp_path / "run").classify(text="green").labels == ("green",)


def test_numbers_of_classes_are_read_by_their_names_and_kept_as_they_are(braid: Braid, tmp_path: Path) -> None:
    one, several = {"names": ["cat", "dog"], "_type": "ClassLabel"}, {"feature": {"names": ["a", "b"]}, "_type": "List"}
    columns = {"text": ["x"] * 4, "label": [1, 0, -1, 7], "tags": [[0, 1], [1], [], [0]], "score": [0, 1, 0, 1]}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": one, "tags": several, "old": [one]}
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata(note), path)
    assert labels(path) == ["dog", "cat", "7"]  # the last has no name; the third says that there is no label
    assert [row.source for row in open_dataset(path).skipped] == ["data.parquet, row 3"]
    assert labels(path, "labels=tags") == [("a", "b"), ("b",), (), ("a",)]
    assert labels(path, "label=score") == ["0", "1", "0", "1"]
    run = classifier(tmp_path)
    ran = braid("predict", run, path, "-o", tmp_path / "out.parquet")
    assert ran.code == 0, ran.err
    written = pq.read_table(tmp_path / "out.parquet")
    assert written["label"].to_pylist() == columns["label"]
    assert written.schema.field("label") == pa.field("label", pa.int64())
    for skipped in (b"{", b'{"info": {"features": {"label": 3}}}', b"[]", b"\xff"):
        pq.write_table(pa.table(columns).replace_schema_metadata({b"huggingface": skipped}), path)
        assert labels(path) == ["1", "0", "-1", "7"]


def classifier(folder: Path) -> Path:
    """Trained for a moment on photos with texts."""
    Image.new("RGB", (8, 8), "red").save(folder / "photo.png")
    rows = [
        {"image": "photo.png", "text": f"a {label} {k}", "label": label, "split": split}
        for split in ("train", "val")
        for label in ("dog", "cat")
        for k in range(4)
    ]
    given = {**TINY, "task": "classification", "data": {"path": str(posts(folder, "posts.csv", rows))}, "epochs": 1}
    train(run_from(given), folder / "run")
    return folder / "run"


def test_a_row_may_lack_its_picture_or_its_text(braid: Braid, tmp_path: Path) -> None:
    run = classifier(tmp_path)
    asked = [{"image": "photo.png", "text": "a dog"}, {"image": "photo.png", "text": ""}, {"image": "", "text": "a cat"}]
    ran = braid("predict", run, posts(tmp_path, "asked.csv", asked), "-o", tmp_path / "out.jsonl")
    assert ran.code == 0, ran.err
    model = library.load(run)
    both, image, text = (json.loads(line)["confidence"] for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert both == round(model.classify(tmp_path / "photo.png", "a dog").confidence, 4)  # its text is read, and is no caption
    assert image == round(model.classify(tmp_path / "photo.png").confidence, 4)
    assert text == round(model.classify(text="a cat").confidence, 4)
    alone = "rows have only {}; the model was trained with image and prompt, so their answers may be poor"
    assert [line for line in ran.err.splitlines() if "trained with" in line] == [
        f"1 of 3 {alone.format(n)}" for n in ("image", "prompt")
    ]


def test_rows_that_lack_an_input_are_only_those_that_are_labelled(tmp_path: Path) -> None:
    """A captioner has no use for a row without a picture: it is left out, and does not end the run."""
    rows = [{"image": "", "text": "x", "label": "y", "caption": "a dog"}]
    (skipped_rows,) = open_dataset(posts(tmp_path, "a.csv", rows)).skipped
    assert skipped_rows.reason == "column 'image' is empty; fill it in or remove the row"
    (labelled,) = open_dataset(posts(tmp_path, "b.csv", [{"image": "a.csv", "text": "", "label": "y"}])).examples
    assert LanguageModelling().prepare(labelled).targets == {}  # nor has a language model for one without a text


def test_search_and_index_from_python_know_their_model(tmp_path: Path, photos: Path) -> None:
    given = {**TINY, "data": {"path": "scenes:captioning,train=16,val=4,test=1,compositional=1,size=32"}, "epochs": 1}
    for name, seed in (("finder", 0), ("other", 1)):
        train(run_from({**given, "task": "retrieval", "seed": seed}), tmp_path / name)
    model, other = library.load(tmp_path / "finder"), library.load(tmp_path / "other")
    (photos / "broken.png").write_bytes(b"")
    made = model.index(photos, tmp_path / "photos.index")
    assert (len(made.index), [Path(sample.source).name for sample, _ in made.skipped]) == (5, ["broken.png"])
    (hit,) = model.search(made.index, image=photos / "2.png", top=1)
    assert (Path(hit.id).name, hit.score) == ("2.png", pytest.approx(1, abs=2e-3))
    assert [one.id for one in model.search(tmp_path / "photos.index", "a red circle", top=9)] == [
        one.id for one in model.search(made.index, "a red circle", top=9)
    ]
    assert len(model.index(photos / "0.png", tmp_path / "photos.index", kind="hnsw").index) == 5  # it is there already
    message = f"{tmp_path / 'photos.index'} was made by model {model.origin}, not by {other.origin}; "
    for index in (tmp_path / "photos.index", open_index(tmp_path / "photos.index")):
        with pytest.raises(UserError) as refused:
            other.search(index, "a red circle")
        assert str(refused.value) == message + "search with the model that made it, or make it anew"
    with pytest.raises(UserError, match="there is nothing to look for; give a text, an image or both"):
        model.search(made.index)
    made.index.delete([hit.id for hit in model.search(made.index, "a circle")])
    assert model.search(made.index, "a red circle") == []


def test_a_file_is_in_an_index_once_however_its_path_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**TINY, "data": {"path": "scenes:captioning,train=16,val=4,test=1,compositional=1,size=32"}, "epochs": 1}
    train(run_from({**given, "task": "retrieval"}), tmp_path / "finder")
    model = library.load(tmp_path / "finder")
    for home in ("here", "there"):
        for number in range(3):
            (tmp_path / home / "photos").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (90 * number, 0, len(home))).save(tmp_path / home / "photos" / f"{number}.png")
    os.symlink("photos", tmp_path / "here" / "link")
    os.symlink("photos/0.png", tmp_path / "here" / "copy.png")
    monkeypatch.chdir(tmp_path / "here")
    for kind in ("exact", "lancedb"):
        place = tmp_path / f"{kind}.index"
        for spelled in (
            "photos",
            "./photos",
            "photos/",
            "link",
            str(tmp_path / "here" / "photos"),
            "*.png",
            "photos/../link/*.png",
        ):
            opened = model.index(spelled, place, kind).index
            assert sorted(hit.id for hit in model.search(opened, "a circle", top=9)) == [f"photos/{k}.png" for k in range(3)]
            opened.close()
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir(tmp_path / "there")
            for _ in range(2):  # other files of the same names
                opened = model.index("photos", place).index
                assert {hit.id for hit in model.search(opened, "a circle", top=9)} == {
                    *(f"photos/{k}.png" for k in range(3)),
                    *(str(tmp_path / "there" / "photos" / f"{k}.png") for k in range(3)),
                }
                opened.close()


def test_a_picture_of_several_rows_is_augmented_once_in_a_batch() -> None:
    """Five captions of each of two pictures: two distinct pictures, changed as the first row of each says."""
    task = Retrieval()
    rows = open_dataset("scenes:captioning,train=2,val=1,test=1,compositional=1,size=32").split("train")
    spread = [task.prepare(row) for row in task.expand(rows)]
    image = ImageModalityConfig(size=SIZE, augmentation=Augmentation(brightness=0.5)).build()
    augmented = Collator({**inputs(), "image": image})
    seeds = [(0, 0, row) for row in range(len(spread))]
    result = augmented(spread, seeds).batch.inputs
    captions = len(spread) // 2
    assert result["image"].index.tolist() == [0] * captions + [1] * captions
    assert len(result["image"].distinct.values) == 2
    assert len(result["prompt"].distinct.values) == len(spread)
    alone = augmented([spread[captions]], [seeds[captions]]).batch.inputs["image"].distinct.values
    assert np.array_equal(result["image"].distinct.values[1], alone[0])
    later = augmented(spread, [(0, 1, row) for row in range(len(spread))]).batch.inputs["image"].distinct.values
    assert not np.array_equal(result["image"].distinct.values, later)


def test_a_picture_of_one_row_is_augmented_by_that_row_s_seed() -> None:
    """As ever: a captioner's batches are those of earlier versions, its constant prompt once a row."""
    rows = open_dataset("scenes:captioning,train=4,val=1,test=1,compositional=1,size=32").split("train")
    prepared = [Captioning().prepare(row) for row in rows]
    augmentation = Augmentation(horizontal_flip=0.5, brightness=0.3)
    image = ImageModalityConfig(size=SIZE, augmentation=augmentation).build()
    result = Collator({**inputs(), "image": image})(prepared, [(7, 2, row) for row in range(4)]).batch.inputs
    expected = [
        image.prepare(sample.inputs["image"], "", np.random.default_rng((7, 2, row))) for row, sample in enumerate(prepared)
    ]
    assert np.array_equal(result["image"].distinct.values, image.pad(expected).values)
    assert result["prompt"].index.tolist() == [0, 1, 2, 3]


def test_rows_without_any_label_are_scored_where_several_are_meant() -> None:
    """Chances that happen to add up to 1 do not make labels that exclude each other."""
    task, (first, second, *_) = Classification(), samples()
    rows = [replace(first, references=()), replace(second, references=("dog", "cat"))]
    scores = [{"dog": 0.4, "cat": 0.6}, {"dog": 0.9, "cat": 0.1}]
    predictions = [Prediction(row.id, scores=score) for row, score in zip(rows, scores, strict=True)]
    assert task.score(predictions, rows)["accuracy"] == 0
    assert task.score(predictions, rows)["micro-f1"] == pytest.approx(50)
