"""How the columns of a table are read as inputs: numbers, dates, categories; and what is said of them."""

import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from braid.datasets import open_dataset
from braid.datasets.checks import by_kind, check
from braid.modalities import TabularModalityConfig
from braid.modalities.tabular import NumberColumn
from braid.modalities.tabular.columns import to_days, to_number
from braid.training import Watcher, run_from, train
from conftest import Ran

Braid = Callable[..., Ran]
ROWS = 90
UNREAD, ONCE = "numbers that are not read", "categories that occur once"


def table(folder: Path, cells: list[Any]) -> Path:
    path = folder / "data.jsonl"
    rows = ({"text": f"row {k}", "price": cell, "label": "ab"[k % 2]} for k, cell in enumerate(cells))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def found(path: Path) -> dict[str, list[str]]:
    defects = by_kind(check(open_dataset(path, {"tabular": "price"})))
    return {kind: [one.what for one in defects[kind]] for kind in (UNREAD, ONCE) if kind in defects}


@pytest.mark.parametrize(
    ("first", "written"),
    [
        ("1,000", lambda k: f"{1000 + 37 * k:,}"),
        ("0,5", lambda k: f"{k},5"),
        ("$0.50", lambda k: f"${k}.50"),
        ("0 €", lambda k: f"{k} €"),
        ("0%", lambda k: f"{k}%"),
        ("1'000'000", lambda k: f"1'000'{k:03}"),
        ("1 000", lambda k: f"1 {k:03}"),
        ("(1,000)", lambda k: f"({1000 + k:,})"),
        ("-$0", lambda k: f"-${k}"),
    ],
)
def test_numbers_as_people_write_them_are_told(first: str, written: Callable[[int], str], tmp_path: Path) -> None:
    said = f"column 'price' is read as categories, because {ROWS} of its {ROWS} cells are not numbers, such as {first!r}"
    assert found(table(tmp_path, [written(k) for k in range(ROWS)])) == {UNREAD: [said]}


def test_a_few_cells_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    cells = [f"{1200 + k:,}" if k % 30 == 0 else k + 0.5 for k in range(ROWS)]
    said = f"column 'price' holds numbers; 3 of its {ROWS} cells are not, such as '1,200', and count as missing"
    assert found(table(tmp_path, cells)) == {UNREAD: [said]}
    cells = [None if k % 2 else "" if k % 30 == 0 else k for k in range(ROWS)]
    assert found(table(tmp_path, cells)) == {}


def test_numbers_and_words_in_one_column_are_told(tmp_path: Path) -> None:
    cells = ["none" if k % 9 == 0 else k for k in range(ROWS)]
    said = f"column 'price' is read as categories, because 10 of its {ROWS} cells are not numbers, such as 'none'"
    assert found(table(tmp_path, cells)) == {UNREAD: [said]}
    assert found(table(tmp_path, [("S", "M", 38, 40)[k % 4] for k in range(ROWS)])) == {}  # sizes


def test_categories_that_occur_once_are_told(tmp_path: Path) -> None:
    said = f"column 'price' is read as categories, and {ROWS} of its {ROWS} cells occur once"
    assert found(table(tmp_path, [f"name {k}" for k in range(ROWS)])) == {ONCE: [said]}
    assert found(table(tmp_path, [f"name {k % 9}" for k in range(ROWS)])) == {}
    assert found(table(tmp_path, [f"name {k}" for k in range(9)])) == {}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1970-01-02", 1.0),
        (" 1970-01-02 06:00 ", 1.25),
        ("1970-01-02T12:00:00.000000000", 1.5),
        ("1970-01-01T12:00:00Z", 0.5),
        ("1970-01-01 00:00:00+12:00", -0.5),
        ("1969-12-31", -1.0),
        ("2024-02-31", None),
        ("20240101", None),
        ("2024", None),
        ("2024-01-01 to 2024-02-01", None),
    ],
)
def test_dates_are_days_since_1970(text: str, days: float | None) -> None:
    assert to_days(text) == days


def test_codes_are_no_numbers() -> None:
    assert [to_number(text) for text in ("1_2", "nan", "inf", "1,5", " 3 ", "1e3")] == [None, None, None, None, 3.0, 1000.0]


def test_dates_and_decimals_of_parquet_are_numbers(tmp_path: Path) -> None:
    days = [datetime.datetime(2024, 1, 1 + k) for k in range(30)]
    columns = {
        "text": [f"row {k}" for k in range(30)],
        "label": ["ab"[k % 2] for k in range(30)],
        "stamp": pa.array(days, pa.timestamp("us")),
        "zone": pa.array(days, pa.timestamp("ms", "Europe/Berlin")),
        "nano": pa.array(days, pa.timestamp("ns")),
        "day": pa.array([day.date() for day in days], pa.date32()),
        "price": [None if k == 3 else decimal.Decimal(f"{k}.50") for k in range(30)],
        "time": [datetime.time(k % 3) for k in range(30)],
        "span": [datetime.timedelta(days=k % 3) for k in range(30)],
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    names = ("stamp", "zone", "nano", "day", "price", "time", "span")
    dataset = open_dataset(path, {"tabular": "+".join(names)})
    assert (len(dataset.examples), dataset.skipped) == (30, ())
    assert dataset.examples[3].fields["tabular"]["price"] is None
    config = TabularModalityConfig().fitted(row.fields["tabular"] for row in dataset.examples)
    kinds = {column.name: column.what for column in config.table}
    date = "date, read as days since 1970"
    numbers = {"stamp": date, "zone": date, "nano": date, "day": date, "price": "number"}
    assert kinds == {**numbers, "time": "category, 3 known values", "span": "category, 3 known values"}
    stamp = config.table[0]
    assert isinstance(stamp, NumberColumn) and stamp.mean == pytest.approx(19723 + 14.5)
    prepared = config.build().prepare({"stamp": "2024-01-01", "price": 3})
    assert prepared.values[0] == pytest.approx(-14.5 / stamp.std) and prepared.mask.tolist() == [1, 0, 0, 0, 1, 0, 0]


def test_decimals_and_dates_are_labels_and_texts_too(tmp_path: Path) -> None:
    price = pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00")])
    day = pa.array([datetime.date(2024, 1, 31)] * 2)
    pq.write_table(pa.table({"text": day, "label": price, "id": day}), tmp_path / "a.parquet")
    fields = [row.fields for row in open_dataset(tmp_path / "a.parquet").examples]
    assert fields == [{"text": "2024-01-31", "label": label} for label in ("1.50", "2.00")]


def test_numbers_of_numpy_are_numbers() -> None:
    row = {"a": np.int64(3), "b": np.float32(0.5), "c": datetime.date(2024, 1, 31), "d": decimal.Decimal("2.5"), "e": True}
    assert TabularModalityConfig.from_json(row) == {"a": 3.0, "b": 0.5, "c": "2024-01-31", "d": 2.5, "e": "true"}


def test_the_kind_of_each_column_is_printed(braid: Braid, tmp_path: Path) -> None:
    rows = [f"{k % 3},{k},2024-01-{1 + k % 28:02},{k:,}x,{'ab'[k % 2]},{('train', 'val')[k > 70]}" for k in range(ROWS)]
    (tmp_path / "a.csv").write_text("\n".join(["brand,price,day,text,label,split", *rows]) + "\n")
    tabular = "brand+price+day"
    ran = braid("data", "check", tmp_path / "a.csv", "--columns", f"tabular={tabular}", "--json")
    kinds = {"brand": "number", "price": "number", "day": "date, read as days since 1970"}
    assert json.loads(ran.out)["tabular"] == kinds
    shown = braid("data", "check", tmp_path / "a.csv", "--columns", f"tabular={tabular}").out
    assert "Table columns" in shown and "day     date, read as days since 1970" in shown
    notes: list[str] = []
    run = {"task": "classification", "data": {"path": str(tmp_path / "a.csv"), "columns": {"tabular": tabular}}, "model": "tiny"}
    config = run_from({**run, "epochs": 1, "workers": 0, "threads": 1}, ["inputs.tabular.categories=[brand]"])
    train(config, tmp_path / "run", watcher=Watcher(on_note=notes.append))
    said = f"{tmp_path / 'a.csv'}: table columns: brand: category, 3 values; price: number; day: date, read as days since 1970"
    assert said in notes
    told = braid("classify", "--model", tmp_path / "run", "--input", 'tabular={"price": "1,200", "day": "2024-01-31"}')
    assert told.err.startswith("--input tabular: price '1,200' is not a number, so it counts as missing\n")
    assert "3 columns: brand (category, 3 known values), price (number), day (date" in braid("inspect", tmp_path / "run").out
