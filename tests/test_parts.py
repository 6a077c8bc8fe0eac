"""Rows about parts of files: the columns ``start`` and ``end`` of a table."""

import json
from collections.abc import Callable, Iterator
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from braid import config
from braid.datasets import open_dataset
from braid.datasets.checks import check
from braid.datasets.shards import open_shards, write_shards
from braid.errors import UserError
from braid.media import Clip
from braid.media.times import read_seconds
from braid.modalities import InputModalityConfig
from conftest import Ran
from takes import TakeConfig

Braid = Callable[..., Ran]


@pytest.fixture(autouse=True)
def takes() -> Iterator[None]:
    config.add_kind(InputModalityConfig, TakeConfig)
    yield
    config.remove_kind(InputModalityConfig, TakeConfig)


def written(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    for row in rows:
        if isinstance(row.get("take"), str):
            (folder / row["take"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / row["take"]).write_bytes(row["take"].encode())
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (62.5, 62.5),
        (3, 3.0),
        ("62.5", 62.5),
        (" 62,5 ", 62.5),
        ("1:02.5", 62.5),
        ("62:03", 3723.0),
        ("0:01:02.5", 62.5),
        ("00:01:02,500", 62.5),
        ("100:00:00", 360_000.0),
        (Decimal("1.25"), 1.25),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (time(0, 1, 2, 500_000), 62.5),
        ("-1", -1.0),
    ],
)
def test_times_are_read_as_people_write_them(value: Any, seconds: float) -> None:
    assert read_seconds(value, "it") == seconds


@pytest.mark.parametrize(
    "value", ["", "soon", "1:2:3:4", "1e3", "nan", float("nan"), float("inf"), True, "2024-01-31", "1.5 s", "١"]
)
def test_what_is_no_time_is_told(value: Any) -> None:
    with pytest.raises(UserError, match=r"^it is .*, which is no time; write seconds, such as 62.5, or 0:01:02.5$"):
        read_seconds(value, "it")


def test_start_and_end_make_a_part(tmp_path: Path) -> None:
    rows = [
        {"take": "a.take", "start": 0.5, "end": "0:00:02.25", "caption": "one"},
        {"take": "a.take", "start": 2.25, "end": None, "caption": "two"},
        {"take": "a.take", "start": "", "end": 3, "caption": "three"},
        {"take": "b.take", "start": None, "end": None, "caption": "four"},
    ]
    dataset = open_dataset(written(tmp_path, rows))
    file, whole = str(tmp_path / "a.take"), str(tmp_path / "b.take")
    assert [row.fields["take"] for row in dataset.examples] == [
        Clip(file, 0.5, 2.25),
        Clip(file, 2.25),
        Clip(file, 0.0, 3.0),
        whole,
    ]
    assert [row.id for row in dataset.examples] == ["a.take 0.5-2.25 s", "a.take from 2.25 s", "a.take 0-3 s", "b.take"]
    assert dataset.columns["start"] == "start"
    assert dataset.unused == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"start": "later", "end": 2}, "column 'start' is 'later', which is no time; write seconds, such as 62.5, or 0:01:02.5"),
        ({"start": 3, "end": 2}, "end is 2 seconds, but the part starts at 3; end it later"),
        ({"start": 2, "end": 2}, "end is 2 seconds, but the part starts at 2; end it later"),
        ({"start": -1, "end": 2}, "start is -1 seconds; it must be 0 or more"),
        ({"start": 0, "end": [2]}, "column 'end' is [2], which is no time; write seconds, such as 62.5, or 0:01:02.5"),
    ],
)
def test_a_row_with_a_wrong_time_is_skipped(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    good = {"take": "a.take", "start": 0, "end": 1, "caption": "one"}
    dataset = open_dataset(written(tmp_path, [good, {"take": "a.take", "caption": "two", **row}]))
    assert [one.reason for one in dataset.skipped] == [reason]
    assert len(dataset.examples) == 1


def test_captions_of_one_part_are_one_row_and_those_of_two_parts_are_two(tmp_path: Path) -> None:
    rows = [
        {"take": "a.take", "start": start, "end": start + 1, "caption": text, "split": "train"}
        for start, text in ((0, "one"), (1, "two"), (0, "uno"))
    ]
    dataset = open_dataset(written(tmp_path, rows))
    assert [(row.fields["take"].start, row.fields["captions"]) for row in dataset.examples] == [
        (0, ("one", "uno")),
        (1, ("two",)),
    ]


def test_parts_of_a_file_share_its_split(tmp_path: Path) -> None:
    rows = [
        {"take": f"{name}.take", "start": start, "end": start + 1, "label": "x" if start % 2 else "y"}
        for name in "abcdefgh"
        for start in range(6)
    ]
    dataset = open_dataset(written(tmp_path, rows))
    assert set(dataset.splits) == {"train", "val"}
    by_file: dict[str, set[str]] = {}
    for row in dataset.examples:
        by_file.setdefault(row.fields["take"].file, set()).add(row.split)
    assert all(len(splits) == 1 for splits in by_file.values())
    assert "chosen by take name" in dataset.guess


def test_files_of_one_name_in_two_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{"take": f"{home}/a.take", "start": 0, "end": 1, "label": home} for home in ("x", "y")]
    assert [row.id for row in open_dataset(written(tmp_path, rows)).examples] == ["x/a.take 0-1 s", "y/a.take 0-1 s"]


def test_other_columns_can_be_the_times_or_none(tmp_path: Path) -> None:
    rows = [{"take": "a.take", "from": 1, "to": 2, "start": 3, "end": 4, "label": "x"}]
    path = written(tmp_path, rows)
    assert open_dataset(path, "start=from,end=to").examples[0].fields["take"] == Clip(str(tmp_path / "a.take"), 1.0, 2.0)
    assert open_dataset(path, "start=,end=").examples[0].fields["take"] == str(tmp_path / "a.take")


def test_without_files_that_have_times_start_and_end_are_any_columns(tmp_path: Path) -> None:
    path = tmp_path / "rides.csv"
    path.write_text("start,end,km,label\nA,B,3,fast\nB,A,4,slow\n")
    row = open_dataset(path, "tabular=start+km").examples[0]
    assert row.fields["tabular"] == {"start": "A", "km": "3"}
    assert open_dataset(path, "tabular=km").unused == ("start", "end")
    with pytest.raises(
        UserError, match=r"rides.csv: start is a time in a file, and no column holds files with times; leave it out"
    ):
        open_dataset(path, "tabular=km,start=start")


def test_a_check_finds_a_file_whose_parts_are_in_two_splits(tmp_path: Path) -> None:
    rows = [
        {"take": f"{name}.take", "start": start, "end": start + 1, "caption": f"{name} says {start}", "split": split}
        for name, start, split in (("a", 0, "train"), ("a", 1, "val"), ("b", 0, "train"), ("b", 1, "train"), ("c", 0, "val"))
    ]
    (leak,) = [one for one in check(open_dataset(written(tmp_path, rows))) if one.kind.startswith("leak")]
    assert leak.what == "rows.jsonl, row 1: a.take is in train and val"
    assert leak.out == ((f"{tmp_path / 'a.take'} 0-1 s", "train"),)


def test_parts_are_packed_and_shown(tmp_path: Path, braid: Braid) -> None:
    rows = [
        {"take": "a.take", "start": start, "end": start + 1, "caption": f"it is {start}", "split": "train"} for start in range(3)
    ]
    dataset = open_dataset(written(tmp_path, rows))
    assert "a.take, 0-1 s" in braid("data", "check", dataset.path).out
    written_rows = write_shards(dataset.examples, tmp_path / "shards", 10**6, 0, lambda source, reason: None)
    assert (written_rows.num_rows, written_rows.num_files) == (3, 1)
    packed = [row.fields["take"] for row in open_shards(tmp_path / "shards", {}).examples]
    assert [(one.start, one.end) for one in packed] == [(0, 1), (1, 2), (2, 3)]
    assert len({one.file for one in packed}) == 1


def test_moments_of_scenes_and_tuples_with_arrays_are_kept(tmp_path: Path) -> None:
    rows = open_dataset("scenes:audio,train=3,val=1,test=1,compositional=1").examples
    samples, rate = rows[0].fields["audio"]
    assert rows[0].fields["audio"][0] is samples
    assert rate == 16_000
    texts = [replace_audio(row) for row in rows]
    write_shards(texts, tmp_path / "shards", 10**6, 0, lambda source, reason: None)
    assert [row.fields["moment"] for row in open_shards(tmp_path / "shards", {}).examples] == [
        row.fields["moment"] for row in rows
    ]


def replace_audio(row: Any) -> Any:
    return type(row)(row.id, {role: value for role, value in row.fields.items() if role != "audio"}, row.split, row.source)
