"""Every format becomes the same examples; what cannot be read is told, row by row."""

import csv
import gzip
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from braid.datasets import Dataset, Rows, open_dataset
from braid.datasets.table import parse_columns, read_table, write_table
from braid.errors import UserError
from braid.records import Example

CAPTIONS = {
    "a.png": ["a dog runs", "the dog is running", "a dog"],
    "b.png": ["two cats", "a pair of cats", "cats"],
    "c.png": ["a red bus", "the bus is red", "a bus"],
    "d.png": ["a boat", "a boat at sea", "the sea"],
}
SPLITS = {"a.png": "train", "b.png": "train", "c.png": "val", "d.png": "test"}
FORMATS = [
    "jsonl",
    "json",
    "csv, a caption a row",
    "csv, numbered captions",
    "coco",
    "coco folder",
    "karpathy",
    "flickr",
    "folder",
]


def image(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return path


def rows_to_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write(kind: str, home: Path) -> Path:
    """The same four pictures, captions and splits in one of the formats; returns what a user would name."""
    if kind == "folder":
        for name, texts in CAPTIONS.items():
            place = image(home / SPLITS[name] / name)
            place.with_suffix(".txt").write_text("\n".join(texts) + "\n")
        return home
    for name in CAPTIONS:
        image(home / ("images" if kind in ("coco", "coco folder", "karpathy", "flickr") else "") / name)
    if kind == "jsonl":
        lines = [json.dumps({"image": n, "captions": t, "split": SPLITS[n]}) for n, t in CAPTIONS.items()]
        (home / "data.jsonl").write_text("\n".join(lines))
        return home / "data.jsonl"
    if kind == "json":
        (home / "data.json").write_text(json.dumps([{"image": n, "caption": t, "split": SPLITS[n]} for n, t in CAPTIONS.items()]))
        return home / "data.json"
    if kind == "csv, a caption a row":
        rows = [{"photo": n, "title": text, "fold": SPLITS[n]} for n, texts in CAPTIONS.items() for text in texts]
        return rows_to_csv(home / "data.csv", rows)
    if kind == "csv, numbered captions":
        result = [
            {"file": n, **{f"caption{i}": t for i, t in enumerate(texts)}, "split": SPLITS[n]} for n, texts in CAPTIONS.items()
        ]
        return rows_to_csv(home / "data.csv", result)
    if kind.startswith("coco"):
        (home / "annotations").mkdir()
        for split in ("train", "val", "test"):
            names = [name for name in CAPTIONS if SPLITS[name] == split]
            images = [{"id": ord(name[0]), "file_name": name} for name in names]
            notes = [{"image_id": ord(name[0]), "caption": text} for name in names for text in CAPTIONS[name]]
            (home / "annotations" / f"captions_{split}2017.json").write_text(json.dumps({"images": images, "annotations": notes}))
        return home if kind == "coco folder" else home / "annotations" / "captions_train2017.json"
    if kind == "karpathy":
        rows_k = [
            {"filename": n, "split": SPLITS[n].replace("train", "restval"), "sentences": [{"raw": t} for t in texts]}
            for n, texts in CAPTIONS.items()
        ]
        (home / "dataset_flickr8k.json").write_text(json.dumps({"images": rows_k, "dataset": "flickr8k"}))
        return home / "dataset_flickr8k.json"
    lines = [f"{name}#{i}\t{text}" for name, texts in CAPTIONS.items() for i, text in enumerate(texts)]
    (home / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for split, list_name in (("train", "trainImages"), ("val", "devImages"), ("test", "testImages")):
        names = [name for name in CAPTIONS if SPLITS[name] == split]
        (home / f"Flickr_8k.{list_name}.txt").write_text("\n".join(names) + "\n")
    return home


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    columns = {"captions": "title"} if kind == "csv, a caption a row" else {}
    dataset = open_dataset(write(kind, tmp_path), columns)
    wanted = [name for name in CAPTIONS if kind != "coco" or SPLITS[name] == "train"]
    assert dataset.skipped == ()
    assert {Path(e.fields["image"]).name: list(e.fields["captions"]) for e in dataset.examples} == {
        n: CAPTIONS[n] for n in wanted
    }
    assert {Path(e.fields["image"]).name: e.split for e in dataset.examples} == {n: SPLITS[n] for n in wanted}
    assert all(Path(example.fields["image"]).is_file() for example in dataset.examples)
    assert all(example.source for example in dataset.examples)
    assert len({example.id for example in dataset.examples}) == len(wanted)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_missing_breaks_its_row_alone(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    missing = next(tmp_path.rglob("a.png"))
    if kind == "folder":
        missing.with_suffix(".txt").unlink()
    else:
        missing.unlink()
    dataset = open_dataset(path, {"captions": "title"} if kind == "csv, a caption a row" else {})
    assert dataset.skipped
    assert "a.png" in dataset.skipped[0].source + dataset.skipped[0].reason
    left = {Path(example.fields["image"]).name for example in dataset.examples}
    assert left == {name for name in CAPTIONS if name != "a.png" and (kind != "coco" or SPLITS[name] == "train")}


def test_rows_are_packed_and_come_out_as_they_went_in() -> None:
    held = [{"a": [1]}, b"bytes"]
    fields = [{"image": f"{k}.png", "captions": (f"caf\u00e9 {k}\nx", "\udce9"), "label": "", "n": k} for k in range(100)]
    fields += [{"image": held[k // 2 % 2], "text": "t"} for k in range(8)]
    examples = [Example(str(k), row, ("train", "val", "")[k % 3], f"row {k}") for k, row in enumerate(fields)]
    rows = Rows(iter(examples))
    assert len(rows) == 108
    assert list(rows) == examples
    assert [rows[k] for k in (107, 0, 33, -1)] == [examples[k] for k in (107, 0, 33, -1)]
    assert rows[100].fields["image"] is rows[101].fields["image"] is held[0]
    assert list(rows[5:50:3]) == examples[5:50:3]
    assert list(rows[20:].where("val")[:4]) == [example for example in examples[20:] if example.split == "val"][:4]
    assert rows.splits == {"train": 36, "val": 36, "": 36}
    assert rows.where("test").splits == {}
    moved = rows.where("").assigned(f"fold {k % 2}" for k in range(36))
    assert moved.splits == {"fold 0": 18, "fold 1": 18}
    assert (moved[3].split, moved[3].fields, rows[11].split) == ("fold 1", examples[11].fields, "")
    with pytest.raises(IndexError):
        rows[108]
    assert list(Rows()) == []


ROWS = 4_000


def test_rows_take_little_memory(tmp_path: Path) -> None:
    text = "A black dog and a spotted dog are playing with each other on the road near number"
    lines = (json.dumps({"image": f"pictures/{k}.png", "captions": [f"{text} {k}", f"{text} {k + 1}"]}) for k in range(ROWS))
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    (tmp_path / "pictures").mkdir()
    for k in range(ROWS):
        (tmp_path / "pictures" / f"{k}.png").touch()
    code = (
        "import sys, tracemalloc; from braid.datasets import open_dataset\n"
        "for _ in range(3): tracemalloc.start(); kept = open_dataset(sys.argv[1]); "
        "print(len(kept.examples), *tracemalloc.get_traced_memory()); tracemalloc.stop()"
    )  # in a process where nothing checks shapes
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / "data.jsonl"], capture_output=True, text=True, check=True)
    # The least: what is made once in a process does not count, nor Python's table of names, pathlib's too, which grows in leaps.
    rows, held, peak = (min(map(int, column)) for column in zip(*map(str.split, ran.stdout.splitlines()), strict=True))
    assert rows == ROWS
    assert held < ROWS * 250  # bytes a row; as objects they take over 1,500
    assert peak < ROWS * 500


def test_lines_of_text(tmp_path: Path) -> None:
    text = "".join(f"sentence number {k}\n\n" for k in range(500))
    (tmp_path / "corpus.txt").write_text(text)
    with gzip.open(tmp_path / "corpus.txt.gz", "wt") as file:
        file.write(text)
    plain, packed = open_dataset(tmp_path / "corpus.txt"), open_dataset(tmp_path / "corpus.txt.gz")
    assert [e.fields["text"] for e in plain.examples] == [f"sentence number {k}" for k in range(500)]
    assert plain.examples[3].fields == packed.examples[3].fields
    assert 0 < plain.splits["val"] < 20
    assert plain.split("val")[0].source.startswith("corpus.txt, line ")


def test_without_splits_the_same_picture_stays_in_the_same_split(tmp_path: Path) -> None:
    names = [image(tmp_path / f"{k}.png").name for k in range(300)]
    rows_to_csv(tmp_path / "all.csv", [{"image": name, "caption": "a thing"} for name in names])
    rows_to_csv(tmp_path / "half.csv", [{"image": name, "caption": "a thing"} for name in names[::2]])
    whole, half = open_dataset(tmp_path / "all.csv"), open_dataset(tmp_path / "half.csv")
    places = {example.id: example.split for example in whole.examples}
    assert set(places.values()) == {"train", "val"}
    assert all(places[example.id] == example.split for example in half.examples)


def test_a_small_data_set_without_splits_can_be_trained_on(tmp_path: Path) -> None:
    names = [image(tmp_path / f"{k}.png").name for k in range(4)]
    rows_to_csv(tmp_path / "data.csv", [{"image": name, "caption": "a thing"} for name in names])
    assert open_dataset(tmp_path / "data.csv").splits == {"train": 3, "val": 1}


def test_broken_rows_are_named_with_what_to_do(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    lines = [
        '{"image": "a.png", "captions": ["fine"]}',
        '{"image": "a.png", "captions": []}',
        '{"image": "gone.png", "captions": ["x"]}',
        "{broken",
        "[1, 2]",
        '{"image": "a.png", "captions": ["  "]}',
        '{"image": 7.5, "captions": [null]}',
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / "data.jsonl")
    assert len(dataset.examples) == 1
    message = {row.source: row.reason for row in dataset.skipped}
    assert message == {
        "data.jsonl, row 2": "column 'captions' is empty; fill it in or remove the row",
        "data.jsonl, row 3": f"{tmp_path / 'gone.png'} does not exist; check column 'image'",
        "data.jsonl, row 4": "is not JSON (Expecting property name enclosed in double quotes, column 2); correct the line",
        "data.jsonl, row 5": "is not a JSON object; write {column: value}",
        "data.jsonl, row 6": "column 'captions' is empty; fill it in or remove the row",
        "data.jsonl, row 7": "column 'captions' is empty; fill it in or remove the row",
    }


def test_rows_that_json_allows_and_nobody_expects(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    lines = [
        '{"image": "a.png", "captions": ["fine"]}',
        '{"image": "a.png", "captions": ["\\ud800"]}',
        '{"image": "a\\u0000/b.png", "captions": ["x"]}',
        '{"image": "\\ud800/b.png", "captions": ["x"]}',
        '{"image": "a.png", "captions": ["x"], "id": [1]}',
        '{"image": "a.png", "captions": ' + "[" * 100_000,
        '{"image": ' + "9" * 5000 + "}",
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path / "data.jsonl")
    assert len(dataset.examples) == 1
    assert [row.source for row in dataset.skipped] == [f"data.jsonl, row {number}" for number in range(2, 8)]
    reasons = [row.reason for row in dataset.skipped]
    half = "holds half a character (a lone surrogate), which is not text; write it again"
    assert reasons[0] == f"column 'captions' {half}"
    assert reasons[1] == "column 'image' holds a character 0, which is not text; write it again"
    assert reasons[2] == f"column 'image' {half}"
    assert reasons[3] == "column 'id' is [1], not text; fill it in or remove the row"
    assert reasons[4] == reasons[5] == "is not JSON (nesting or a number without end); correct the line"


def test_an_odd_id_in_coco_is_an_id_too(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    rows = {"images": [{"id": [1], "file_name": "a.png"}], "annotations": [{"image_id": [1], "caption": "a dog"}]}
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    (example,) = open_dataset(tmp_path / "captions.json").examples
    assert example.fields["captions"] == ("a dog",)


def test_a_csv_row_with_too_many_cells_is_broken(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "data.csv").write_text("image,caption\na.png,a dog\na.png,a dog, running\n")
    dataset = open_dataset(tmp_path / "data.csv")
    assert [row.source for row in dataset.skipped] == ["data.csv, row 2"]
    assert dataset.skipped[0].reason == "has 3 cells, the header has 2; quote cells that hold the separator"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "gone.csv does not exist; check the path"),
        ("empty.csv", b"", "empty.csv is empty; a table needs at least one row"),
        ("header.csv", b"image,caption\n", "header.csv has a header and no rows"),
        ("latin.csv", b"image,caption\na.png,caf\xe9\n", "latin.csv is not UTF-8 text"),
        ("odd.csv", b"x,y\n1,2\n", "odd.csv: no column has a usual name (x, y); say which is which: --columns"),
        (
            "what.bin",
            b"\0\1",
            "what.bin holds no data set that Braid knows; it reads shards (shards.jsonl and tars); a table (csv, tsv,",
        ),
        ("list.json", b"[]", "list.json is not a list of rows"),
        ("list.json", b"[1]", "list.json: no row is a JSON object; write {column: value}"),
        ("captions_val.json", b'{"images": [{"file_name": "a"', "captions_val.json, line 1, is not JSON"),
        (
            "captions_val.json",
            b'{"images": [{"file_name": "a"}]}',
            "captions_val.json has no list of annotations; a COCO caption",
        ),
        ("bad.txt", b"a\n\xff\xfe\x00", "bad.txt is not UTF-8 text (line 2, byte 2); save it as UTF-8"),
        ("bad.txt.gz", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40, "bad.txt.gz cannot be read as UTF-8 text (Error -3"),
        ("deep.json", b"[" * 100_000, "deep.json holds nesting or a number without end; is it the right file?"),
        ("long.json", b"[" + b"9" * 5000 + b"]", "long.json holds nesting or a number without end; is it the right file?"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_one_clear_error(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_dataset(tmp_path / name)
    assert message in str(caught.value)


def test_columns_that_are_not_there_name_the_likely_one(tmp_path: Path) -> None:
    rows_to_csv(tmp_path / "data.csv", [{"image": "a.png", "title": "x"}])
    with pytest.raises(UserError, match=r"has no column 'titel'; choose from image, title \(did you mean 'title'\?\)"):
        open_dataset(tmp_path / "data.csv", parse_columns("captions=titel"))
    with pytest.raises(UserError, match=r"there is no role 'caption'; .*did you mean 'captions'"):
        parse_columns("caption=title")


def test_an_unknown_split_lists_those_there_are(tmp_path: Path) -> None:
    dataset: Dataset = open_dataset(write("jsonl", tmp_path))
    with pytest.raises(
        UserError, match=r"has no rows in split 'dev'; it has test \(1\), train \(2\), val \(1\); all takes every row"
    ):
        dataset.split("dev")
    assert dataset.split("all") == dataset.examples


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_table_is_written_as_it_was_read(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"image": "a.png", "note": "one, \\"two\\"\\nthree"}\n{"image": "b.png", "note": ""}\n')
    table = read_table(tmp_path / "in.jsonl")
    write_table(table, tmp_path / f"out{suffix}")
    again = read_table(tmp_path / f"out{suffix}")
    assert again.rows == table.rows
    assert not list(tmp_path.glob("*.part"))


def test_the_real_data_opens_as_it_is(shared_data: Path) -> None:
    flickr = open_dataset(shared_data / "flickr8k" / "captions.jsonl")
    assert {split: flickr.splits[split] for split in ("train", "val")} == {"train": 6000, "val": 1000}
    assert all(len(example.fields["captions"]) == 5 for example in flickr.examples)
    assert open_dataset(shared_data / "flickr8k").splits == flickr.splits
    for name in ("daquar/qa.jsonl", "mvsa/pairs.jsonl", "captions-text/flickr30k_captions.txt.gz"):
        dataset = open_dataset(shared_data / name)
        assert dataset.skipped == ()
        assert dataset.split("train")


def test_a_folder_of_pictures_alone_is_a_data_set_unless_a_table_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for name in ("a.png", "b.png", "val/c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    result = open_dataset(tmp_path)
    assert result.splits == {"": 2, "val": 1} and set(result.examples[0].fields) == {"image"}
    (tmp_path / "rows.csv").write_text("image,caption\na.png,a square\n")
    assert set(open_dataset(tmp_path).examples[0].fields) == {"image", "captions"}


def test_a_line_of_a_gigabyte_is_not_kept_in_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "text.txt.gz", "wb", 1) as file:
        file.write(b"a dog runs\n")
        for _ in range(300):
            file.write(b"a" * 1_000_000)
        file.write(b"\ntwo dogs run\n")
    tracemalloc.start()
    dataset = open_dataset(tmp_path / "text.txt.gz")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000
    assert [example.fields["text"] for example in dataset.examples] == ["a dog runs", "two dogs run"]
    assert [row.source for row in dataset.skipped] == ["text.txt.gz, line 2"]
