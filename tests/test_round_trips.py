"""What Braid writes, it reads again: every writer, and what it wrote read back as it was."""

import csv
import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braid.api import load
from braid.bundle import read_bundle, write_descriptions
from braid.cli.evaluate import read_predictions
from braid.datasets import open_dataset
from braid.datasets.dataset import Dataset
from braid.datasets.shards import open_shards, write_shards
from braid.datasets.table import read_table, table_for, write_table
from braid.datasets.table.files import SUFFIXES, Table
from braid.index import ExactIndexConfig, Origin, create_index, open_index
from braid.records import Example
from braid.skipped_rows import SkippedRows
from braid.training import read_run, run_from
from braid.training.config import write_run
from conftest import Ran

Braid = Callable[..., Ran]

TEXTS = (
    "a dog",
    'with "quotes", commas\tand tabs',
    "two\nlines",
    "two\r\nlines",
    "é 東京 👍🏽",
    "\\u0041 \\n",
    "=1+1",
    " x ",
    "NULL",
)


def images(folder: Path, number: int = 4) -> list[Path]:
    (folder / "img").mkdir(parents=True, exist_ok=True)
    paths = [folder / "img" / f"{k}.png" for k in range(number)]
    for k, path in enumerate(paths):
        Image.new("RGB", (40, 32), (20 * k, 99, 7)).save(path)
    return paths


def same_rows(one: Dataset, other: Dataset) -> None:
    """The same rows: split, texts and labels, and the same pixels."""
    assert [row.reason for row in other.skipped] == []
    assert len(one.examples) == len(other.examples) > 0
    for row, again in zip(one.examples, other.examples, strict=True):
        assert {k: v for k, v in row.fields.items() if k != "image"} == {k: v for k, v in again.fields.items() if k != "image"}
        assert row.split == again.split
        assert np.array_equal(*(pixels(example) for example in (row, again)))


def pixels(example: Example) -> np.ndarray:
    from braid.modalities.image.decoding import decoded

    return np.asarray(decoded(example.fields["image"], "", 32))


@pytest.mark.parametrize("ending", SUFFIXES)
def test_texts_of_a_table(ending: str, tmp_path: Path) -> None:
    table = Table(
        ("text", "odd name, with a comma"), tuple({"text": t, "odd name, with a comma": t[::-1]} for t in TEXTS), tmp_path
    )
    write_table(table, tmp_path / f"a{ending}")
    again = read_table(tmp_path / f"a{ending}")
    assert (again.columns, tuple(again.rows)) == (table.columns, table.rows)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_values_of_a_table(ending: str, tmp_path: Path) -> None:
    rows = ({"a": 1, "b": 1.5, "c": True, "d": None, "e": ["x", "y"], "f": {"g": "h"}}, dict.fromkeys("abcdef"))
    write_table(Table(tuple("abcdef"), rows, tmp_path), tmp_path / f"a{ending}")
    assert tuple(read_table(tmp_path / f"a{ending}").rows) == rows


def parquet(folder: Path, both: bool = False) -> Path:
    """A table of images inside, with labels as numbers, as Hugging Face writes them."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": path.read_bytes(), "path": path.name if both else None} for path in images(folder)]
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    columns = {
        "image": pa.array(cells, kind),
        "label": [0, 1, 0, 1],
        "split": [*["train"] * 3, "val"],
        "day": [date(2024, 2, 29)] * 4,
    }
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / "data.parquet")
    return folder / "data.parquet"


@pytest.mark.parametrize("ending", SUFFIXES)
@pytest.mark.parametrize("both", [False, True])
def test_fix_of_images_in_parquet(ending: str, both: bool, braid: Braid, tmp_path: Path) -> None:
    path = parquet(tmp_path, both)
    clean = tmp_path / "far" / f"clean{ending}"
    ran = braid("data", "check", path, "--fix", clean, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["num_kept"] == 4
    same_rows(open_dataset(path), open_dataset(clean))
    assert open_dataset(clean).examples[1].fields["label"] == "dog"
    if ending != ".parquet":
        assert [file.suffix for file in sorted((tmp_path / "far" / "clean").iterdir())] == [".png" if both else ".image"] * 4


@pytest.mark.parametrize("ending", SUFFIXES)
def test_predict_of_images_in_parquet(ending: str, braid: Braid, captioner: Path, tmp_path: Path) -> None:
    path, output = parquet(tmp_path), tmp_path / "far" / f"out{ending}"
    assert braid("predict", captioner, path, "--task", "captioning", "-o", output).code == 0
    same_rows(open_dataset(path), open_dataset(output))


@pytest.mark.parametrize("source", [".csv", ".jsonl"])
@pytest.mark.parametrize("ending", SUFFIXES)
def test_predict_in_another_folder(source: str, ending: str, braid: Braid, captioner: Path, tmp_path: Path) -> None:
    names = [str(path.relative_to(tmp_path)) for path in images(tmp_path)]
    names[3] = str(tmp_path / names[3])  # an absolute path
    rows = tuple({"image": name, "captions": ["a ball", "two balls"]} for name in names)
    write_table(Table(("image", "captions"), rows, tmp_path), tmp_path / f"data{source}")
    output = tmp_path / "far" / "away" / f"out{ending}"
    ran = braid("predict", captioner, tmp_path / f"data{source}", "--task", "captioning", "-o", output)
    assert ran.code == 0, ran.err
    same_rows(open_dataset(tmp_path / f"data{source}"), open_dataset(output))
    written = [row["image"] for row in read_table(output).rows if isinstance(row, dict)]
    assert written == [*(f"../../{name}" for name in names[:3]), names[3]]


def test_predict_through_a_link(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    images(tmp_path / "real")
    (tmp_path / "real" / "data.csv").write_text("image,caption\nimg/0.png,a ball\n")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "img")
    ran = braid("predict", captioner, tmp_path / "real" / "data.csv", "--task", "captioning", "-o", tmp_path / "link" / "out.csv")
    assert ran.code == 0, ran.err
    assert len(open_dataset(tmp_path / "real" / "img" / "out.csv").examples) == 1


def test_predict_of_predict_of_predict(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "0.csv").write_text("image,caption\nimg/0.png,a ball\nimg/gone.png,a ball\n")
    for number in range(4):
        ran = braid(
            "predict", captioner, tmp_path / f"{number}.csv", "--task", "captioning", "-o", tmp_path / f"{number + 1}.csv"
        )
        assert "2 columns" not in ran.err
    with open(tmp_path / "4.csv", newline="") as file:
        row = next(csv.DictReader(file))
    names = ["prediction", "braid_prediction", "braid_prediction_2", "braid_prediction_3"]
    assert [name for name in row if "prediction" in name] == names
    assert len({row[name] for name in names}) == 1


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_kept(ending: str, mark: bytes, braid: Braid, captioner: Path, tmp_path: Path) -> None:
    images(tmp_path)
    write_table(Table(("image", "caption"), ({"image": "img/0.png", "caption": "é"},), tmp_path), tmp_path / f"a{ending}")
    (tmp_path / f"a{ending}").write_bytes(mark + (tmp_path / f"a{ending}").read_bytes())
    for verb in (
        ("predict", captioner, tmp_path / f"a{ending}", "--task", "captioning", "-o", tmp_path / f"b{ending}"),
        ("data", "check", tmp_path / f"a{ending}", "--fix", tmp_path / f"b{ending}"),
    ):
        assert braid(*verb).code == 0
        assert (tmp_path / f"b{ending}").read_bytes().startswith(b"\xef\xbb\xbf") == bool(mark)
        assert read_table(tmp_path / f"b{ending}").columns[:2] == ("image", "caption")


def test_search_from_another_folder_shows_the_images(braid: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert braid("index", "img", "-o", "i.index").code == 0
    (tmp_path / "far" / "img").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "far" / "img" / "0.png")  # another image of that name
    monkeypatch.chdir(tmp_path / "far")
    ran = braid("search", "../i.index", "a dog", "--html", "found.html", "--json")
    assert sorted(json.loads(line)["id"] for line in ran.out.splitlines()) == [f"img/{k}.png" for k in range(4)]
    page = (tmp_path / "far" / "found.html").read_text()
    assert page.count('src="data:image') == 4
    from braid.modalities import thumbnail_uri

    assert thumbnail_uri(tmp_path / "img" / "0.png", 480) in page
    (tmp_path / "far" / "moved").mkdir()
    for name in ("i.index", "img"):  # together with the images
        (tmp_path / name).rename(tmp_path / "far" / "moved" / name)
    assert braid("search", "moved/i.index", "a dog", "--html", "found.html").code == 0
    assert (tmp_path / "far" / "found.html").read_text().count('src="data:image') == 4


def test_saved_predictions_and_skipped_rows(tmp_path: Path) -> None:
    from braid.files import write_whole

    saved = {f"{number}": text for number, text in enumerate(TEXTS)}
    write_whole(tmp_path / "saved.json", json.dumps(saved, ensure_ascii=False, indent=1))
    assert read_predictions(tmp_path / "saved.json") == saved
    notes: list[str] = []
    skipped = SkippedRows(notes.append)
    skipped.add([(text, f"because {text}") for text in (*TEXTS, "caf\udce9")])
    skipped.save(tmp_path / "skipped.jsonl")
    again = SkippedRows(notes.append)
    again.load(tmp_path / "skipped.jsonl")
    assert len(again) == len(TEXTS) + 1
    assert all(text in again for text in (*TEXTS, "caf\udce9"))


def test_shards(tmp_path: Path) -> None:
    paths = images(tmp_path, len(TEXTS))
    examples = [
        Example(f"{text} {path.name}", {"image": str(path), "captions": (text, "x")}, "train", "")
        for path, text in zip(paths, TEXTS, strict=True)
    ]
    write_shards(examples, tmp_path / "shards", 10_000, 0, lambda source, reason: pytest.fail(reason))
    again = list(open_shards(tmp_path / "shards", {}).examples)
    assert [(row.id, row.fields["captions"]) for row in again] == [(row.id, row.fields["captions"]) for row in examples]
    assert all(np.array_equal(pixels(row), pixels(other)) for row, other in zip(examples, again, strict=True))


def test_an_index(tmp_path: Path) -> None:
    data: list[Any] = [{"text": text, "n": None} for text in TEXTS]
    index = create_index(tmp_path / "i", ExactIndexConfig(), 4, Origin("é \n", "0" * 64))
    index.add(list(TEXTS), np.random.default_rng(0).normal(size=(len(TEXTS), 4)).astype(np.float32), data)
    index.save()
    again = open_index(tmp_path / "i", Origin("é \n", "0" * 64))
    (hits,) = again.search(np.ones((1, 4), np.float32), 99)
    assert {hit.id: hit.metadata for hit in hits} == dict(zip(TEXTS, data, strict=True))


def test_a_run_and_a_model(captioner: Path, tmp_path: Path) -> None:
    config = run_from(
        {"task": "captioning", "data": {"path": "caf\udce9/é.csv", "columns": {"captions": TEXTS[1]}}, "model": "tiny"}
    )
    write_run(config, tmp_path / "run.yaml")
    assert read_run(tmp_path / "run.yaml", []) == config
    bundle = read_bundle(captioner / "best")
    for file in (captioner / "best").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_descriptions(tmp_path, bundle.interface, bundle.tokenizers)
    again = read_bundle(tmp_path)
    assert again.interface == bundle.interface
    assert {name: one.to_json() for name, one in again.tokenizers.items()} == {
        n: o.to_json() for n, o in bundle.tokenizers.items()
    }


def test_a_table_beside_its_source_is_untouched(tmp_path: Path) -> None:
    images(tmp_path)
    (tmp_path / "data.csv").write_text("image,caption\n./img/0.png,a\n")
    table = read_table(tmp_path / "data.csv")
    assert tuple(table_for(table, {}, tmp_path / "out.csv").rows) == tuple(table.rows)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_model_that_was_used(runtime: str, tmp_path: Path) -> None:
    """A pool of processes pickles it, a cache asks for its hash."""
    (image, *_) = images(tmp_path, 1)
    model = load(runtime=runtime)
    expected = model.caption(image)
    for copied in (pickle.loads(pickle.dumps(model)), deepcopy(model)):
        assert copied.caption(image) == expected
        assert copied != model
    assert {model: 1, model.bundle: 2} == {model: 1, model.bundle: 2}
