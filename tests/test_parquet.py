"""Parquet tables: as other people's tools write them, in and out."""

import datetime
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from braid.datasets import open_dataset
from braid.datasets.table import parquet, parse_columns, read_table, write_table
from braid.datasets.table.files import stream_table
from braid.errors import UserError, install_command
from conftest import Ran

Braid = Callable[..., Ran]
WHEN = datetime.datetime(2026, 5, 4, 3, 2, 1)
# How Hugging Face's data sets keep a picture, and say so.
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NOTE = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}


def encoded(number: int) -> bytes:
    """A small picture as PNG; another number is another colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (40 * number, 90, 200)).save(file, "PNG")
    return file.getvalue()


def hub_table(path: Path) -> Path:
    """Pictures in the table, several captions a picture, a label as a whole number, and columns that are nobody's business."""
    images = [{"bytes": encoded(k), "path": f"{k}.png"} for k in range(5)]
    columns = {
        "image": pa.array(images, PICTURE),
        "captions": pa.array([[f"shape {k}", f"the shape {k}"] for k in range(5)], pa.list_(pa.string())),
        "label": pa.array([0, 1, 1, 0, 2], pa.int8()),
        "split": pa.array(["train", "train", "train", "val", "test"]).dictionary_encode(),
        "seen": pa.array([WHEN, None, WHEN, WHEN, None], pa.timestamp("us", "UTC")),
        "exact": pa.array([1, None, 3, 4, 5], pa.timestamp("ns")),
        "score": pa.array([0.5, None, 1.5, float("nan"), 2.5], pa.float32()),
        "boxes": pa.array([[{"x": 1, "y": 2}], [], None, [], []], pa.list_(pa.struct([("x", pa.int16()), ("y", pa.int16())]))),
        "nothing": pa.nulls(5),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(NOTE), path, row_group_size=2)
    return path


def test_pictures_captions_and_labels_come_out_of_the_table(tmp_path: Path) -> None:
    dataset = open_dataset(hub_table(tmp_path / "data.parquet"))
    assert (dataset.format, dataset.skipped, dataset.splits) == ("table (parquet)", (), {"train": 3, "val": 1, "test": 1})
    assert dataset.columns == {"image": "image", "captions": "captions", "label": "label", "split": "split"}
    example = dataset.examples[1]
    assert (example.id, example.source) == ("1.png", "data.parquet, row 2")
    assert dict(example.fields) == {"image": encoded(1), "captions": ("shape 1", "the shape 1"), "label": "1"}


def cells(table: pa.Table) -> str:
    """Every value in words: NaN is no NaN otherwise, and Python has no nanoseconds."""
    place = table.column_names.index("exact")
    return repr(table.set_column(place, "exact", table["exact"].cast(pa.int64())).to_pydict())


@pytest.mark.parametrize(
    "cell",
    [lambda name: name, lambda name: {"bytes": None, "path": name}, lambda name: {"bytes": encoded(1), "path": None}, encoded],
    ids=["path", "path alone", "bytes alone", "bytes"],
)
def test_every_way_to_hold_a_picture(cell: Callable[[Any], Any], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1))
    value = cell(1) if cell is encoded else cell("a.png")
    pq.write_table(pa.table({"image": pa.array([value]), "caption": ["a shape"]}), tmp_path / "data.parquet")
    (example,) = open_dataset(tmp_path / "data.parquet").examples
    image = example.fields["image"]
    assert (image if isinstance(image, bytes) else Path(image).read_bytes()) == encoded(1)
    assert example.id == ("a.png" if isinstance(image, str) else "1")


def test_nulls_and_odd_cells_break_their_rows_alone(tmp_path: Path) -> None:
    images = [{"bytes": encoded(0), "path": None}, None, {"bytes": None, "path": None}, {"bytes": b"", "path": "x.png"}]
    images += [{"bytes": encoded(k), "path": "x.png"} for k in (4, 5)]
    captions = [["fine"], ["x"], ["x"], ["x"], None, ["x", None]]
    pq.write_table(pa.table({"image": pa.array(images, PICTURE), "captions": captions}), tmp_path / "data.parquet")
    dataset = open_dataset(tmp_path / "data.parquet")
    assert [example.fields["captions"] for example in dataset.examples] == [("fine",), ("x",)]
    assert {row.source.rpartition(" ")[2]: (row.reason, row.missing) for row in dataset.skipped} == {
        "2": ("column 'image' is None, not text; fill it in or remove the row", True),
        "3": ("column 'image' is None, not text; fill it in or remove the row", True),
        "4": ("column 'image' is empty; fill it in or remove the row", True),
        "5": ("column 'captions' is empty; fill it in or remove the row", True),
    }


def test_a_binary_text_is_told_in_short(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"\0" * 100_000]}), tmp_path / "data.parquet")
    (row,) = open_dataset(tmp_path / "data.parquet").skipped
    assert row.reason.startswith("column 'text' is b'\\x00") and row.reason.endswith(
        "..., not text; fill it in or remove the row"
    )
    assert len(row.reason) < 200


def test_a_picture_of_many_rows_is_one_picture_in_one_split(tmp_path: Path) -> None:
    """A caption a row, the picture in each: grouped, kept once, and in the same split as in any other table."""
    images = [{"bytes": encoded(k % 3), "path": "image.png"} for k in range(9)]
    columns = {"image": pa.array(images, PICTURE), "caption": [f"number {k}" for k in range(9)]}
    pq.write_table(pa.table(columns), tmp_path / "data.parquet")
    dataset = open_dataset(tmp_path / "data.parquet")
    assert [example.fields["captions"] for example in dataset.examples] == [
        tuple(f"number {k}" for k in (first, first + 3, first + 6)) for first in range(3)
    ]
    assert [example.id for example in dataset.examples] == [f"data.parquet, row {k}" for k in (1, 2, 3)]
    assert set(dataset.splits) == {"train", "val"}
    asked = {"picture": columns["image"], "question": columns["caption"], "answer": columns["caption"]}
    pq.write_table(pa.table(asked), tmp_path / "asked.parquet")
    others = open_dataset(tmp_path / "asked.parquet", parse_columns("image=picture")).examples
    assert len({id(example.fields["image"]) for example in others}) == 3
    splits = {example.fields["image"]: example.split for example in dataset.examples}
    assert all(splits[example.fields["image"]] == example.split for example in others)


def test_rows_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    size, rows = 20_000, 1_000
    noise = [bytes([k % 251]) * 8 + k.to_bytes(4, "big") * (size // 4) for k in range(rows)]
    pq.write_table(pa.table({"image": noise}), tmp_path / "data.parquet", row_group_size=100, use_dictionary=False)
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in stream_table(tmp_path / "data.parquet").rows]
    assert len(held) == rows
    assert max(held) < size * rows / 4


def test_a_table_is_written_with_the_types_it_had(tmp_path: Path) -> None:
    table = read_table(hub_table(tmp_path / "in.parquet"))
    write_table(table, tmp_path / "out.parquet")
    before, after = pq.read_table(tmp_path / "in.parquet"), pq.read_table(tmp_path / "out.parquet")
    assert after.schema.equals(before.schema, check_metadata=True)
    assert cells(after) == cells(before)
    write_table(table, tmp_path / "in.parquet")  # onto itself
    assert pq.read_schema(tmp_path / "in.parquet") == before.schema


def test_other_formats_say_in_text_what_they_can(tmp_path: Path) -> None:
    table = read_table(hub_table(tmp_path / "in.parquet"))
    for suffix in ("csv", "tsv", "json", "jsonl"):
        write_table(table, tmp_path / f"out.{suffix}")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert row["image"] == {"bytes": "iVBORw0KGgo" + row["image"]["bytes"][11:], "path": "0.png"}
    assert (row["captions"], row["label"], row["seen"]) == (["shape 0", "the shape 0"], 0, f"{WHEN}+00:00")
    assert row["exact"] == "1970-01-01 00:00:00.000000001"
    cells = next(row for row in read_table(tmp_path / "out.csv").rows if isinstance(row, dict))
    assert (json.loads(cells["image"]), cells["label"], cells["nothing"]) == (row["image"], "0", "")
    assert len(open_dataset(tmp_path / "out.jsonl", parse_columns("text=seen,image=split")).skipped) == 5  # read, and refused


def test_what_has_no_type_in_common_is_written_as_text(tmp_path: Path) -> None:
    rows = [
        {"k": 1, "mixed": 1, "section": {}, "big": 2**70, "half": "\ud800", "list": ["a"]},
        {"k": None, "mixed": "x", "section": {}, "big": 1, "half": "whole", "list": None},
        {"k": 2, "mixed": [1, None], "section": None, "big": None, "half": None, "list": []},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_table(read_table(tmp_path / "in.jsonl"), tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {
        "k": [1, None, 2],
        "mixed": ["1", "x", "[1, null]"],
        "section": ["{}", "{}", None],
        "big": [str(2**70), "1", None],
        "half": ["\\ud800", "whole", None],
        "list": [["a"], None, []],
    }


def test_predict_keeps_every_column(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    table = hub_table(tmp_path / "table.parquet")
    before = pq.read_table(table)
    images = before["image"].to_pylist()
    images[2]["bytes"] = b"no picture"
    before = before.set_column(0, "image", pa.array(images, PICTURE))
    pq.write_table(before, table)
    ran = braid("predict", captioner, table, "-o", tmp_path / "out.parquet")
    assert ran.code == 1
    assert "skipped: table.parquet, row 3 is not a readable image" in ran.err
    after = pq.read_table(tmp_path / "out.parquet")
    assert after.column_names == [*before.column_names, "prediction", "confidence", "error"]
    kept = after.select(before.column_names)
    assert kept.schema.equals(before.schema) and cells(kept) == cells(before)
    assert [bool(text) for text in after["prediction"].to_pylist()] == [True, True, False, True, True]
    assert after["confidence"].type == pa.float64() and after["confidence"].null_count == 1
    assert after["error"].to_pylist()[2] == "table.parquet, row 3 is not a readable image; save it as PNG or JPEG"


def test_data_check_and_fix(braid: Braid, tmp_path: Path) -> None:
    """Copies and leaks among pictures that only the table holds; what is left keeps its types."""
    images = [{"bytes": encoded(k), "path": f"{name}.png"} for name, k in zip("abcdef", (1, 1, 2, 3, 3, 4), strict=True)]
    columns = {
        "image": pa.array(images, PICTURE),
        "caption": [f"it is the number {k} of a few" for k in range(6)],
        "split": ["train", "val", "train", "val", "train", "val"],
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(NOTE), tmp_path / "data.parquet")
    (tmp_path / "clean").mkdir()
    fixed = tmp_path / "clean" / "data.parquet"
    ran = braid("data", "check", tmp_path / "data.parquet", "--fix", fixed)
    assert ran.code == 0
    assert " bytes in the table" in ran.out
    assert "data.parquet, row 1: the image is in train and val" in ran.out
    after = pq.read_table(fixed)
    assert after.schema.metadata == NOTE
    assert [cell["path"] for cell in after["image"].to_pylist()] == ["b.png", "c.png", "d.png", "f.png"]
    assert json.loads(braid("data", "check", fixed, "--json").out)["num_defects"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.parquet does not exist; check the path"),
        (b"", "data.parquet cannot be read as parquet (Parquet file size is 0 bytes); it may be cut short, copy it again"),
        (
            b"image,caption\na.png,x\n",
            "data.parquet cannot be read as parquet (Parquet magic bytes not found in footer. Either the file is corrupted or"
            " this is not a parquet file); it may be cut short, copy it again",
        ),
        ("no rows", "data.parquet has no rows; a table needs at least one"),
        ("twice", "data.parquet has 2 columns named 'image'; give each a name of its own"),
    ],
    ids=["missing", "empty", "csv", "no rows", "twice"],
)
def test_a_file_that_cannot_be_read_names_itself(content: bytes | str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        cells = pa.array([] if content == "no rows" else ["x"], pa.string())
        pq.write_table(pa.Table.from_arrays([cells, cells], ["image", "caption" if content == "no rows" else "image"]), path)
    with pytest.raises(UserError) as caught:
        read_table(path)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_damage_in_the_middle_names_the_file_too(tmp_path: Path) -> None:
    path = hub_table(tmp_path / "data.parquet")
    whole = path.read_bytes()
    place = whole.index(encoded(3)[:8], len(whole) // 8)
    path.write_bytes(whole[: place - 60] + b"\xff" * 60 + whole[place:])
    with pytest.raises(UserError, match=r"data.parquet cannot be read as parquet \(.*\); it may be cut short, copy it again"):
        open_dataset(path)


def test_without_pyarrow_the_error_says_what_to_install(
    braid: Braid, captioner: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = hub_table(tmp_path / "data.parquet")
    (photos / "table.csv").write_text("image\n0.png\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there, loaded or not
    install = f"needs pyarrow, which is not installed; run: {install_command('parquet')}"
    with pytest.raises(UserError) as caught:
        open_dataset(table)
    assert str(caught.value) == f"{table} {install}"
    out = tmp_path / "out.parquet"
    ran = braid("predict", captioner, photos / "table.csv", "-o", out)
    assert (ran.code, ran.err) == (1, f"error: {out} {install}\n")
    assert open_dataset(photos / "table.csv", parse_columns("captions=image")).format == "table (csv)"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.png"], "caption": ["a" * 80_000_000]}, "column 'caption' unpacks to"),
        ({"image": ["a.png"], "captions": [["x"] * 9_000_000]}, "column 'captions.list.element' unpacks to"),
        ({"image": pa.array(["a.png"]).dictionary_encode().take(pa.array([0] * 9_000_000))}, "bomb.parquet unpacks to"),
    ],
    ids=["a text", "a list", "rows"],
)
def test_a_file_that_unpacks_to_more_than_data_can_is_refused(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=f"{message} (80|72) MB, more than 100 times its size, which no data does; check that"):
        open_dataset(path)


def test_a_damaged_description_of_a_column_ends_no_process(tmp_path: Path) -> None:
    """One byte says that captions may not be missing; asked for this column's description, pyarrow calls abort()."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"image": ["a.png"], "captions": [["a dog"]]}), path)
    data = path.read_bytes()
    named = b"\x35\x02\x18\x08captions"
    assert data.count(named) == 1
    path.write_bytes(data.replace(named, b"\x34" + named[1:]))
    reason = "Definition level histogram size mismatch, size: 4, expected: 3"
    with pytest.raises(UserError) as caught:
        open_dataset(path)
    assert str(caught.value) == f"{path} cannot be read as parquet ({reason}); it may be cut short, copy it again"


def test_a_text_that_many_rows_share_is_held_once(tmp_path: Path) -> None:
    """A dictionary of one long text fills many rows; they are then read a few at a time."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"text": ["a" * 8_000_000] * 64}), path, compression="zstd")
    assert parquet._batch_size(path, pq.ParquetFile(path)) == 7
    pq.write_table(pa.table({"text": [f"a dog {k}" for k in range(1000)], "label": ["x"] * 1000}), path)
    assert parquet._batch_size(path, pq.ParquetFile(path)) == parquet.BATCH
