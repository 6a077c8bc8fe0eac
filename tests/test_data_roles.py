"""A role names its modality: tables, splits, folders, shards and checks take any kind of input."""

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from PIL import Image

from braid.config import add_kind, remove_kind
from braid.datasets import Dataset, Rows, open_dataset, roles_of_data
from braid.datasets.checks import check, leaking_columns
from braid.datasets.shards import write_shards
from braid.datasets.table import parse_columns, with_model_columns
from braid.errors import UserError
from braid.modalities import InputModalityConfig, TabularModalityConfig
from braid.modalities.cells import text_cell
from braid.modalities.tabular import CategoryColumn, NumberColumn
from braid.records import Example
from braid.training import default_run, run_from, train
from conftest import Ran

Braid = Callable[..., Ran]
HEADER = "photo,title,price,brand,C++,kind\n"


@dataclass(frozen=True)
class ClipConfig:
    """A modality of files: as much of one as data sets need."""

    kind: Literal["clip"] = "clip"
    columns: ClassVar[tuple[str, ...]] = ("clip", "take")
    suffixes: ClassVar[frozenset[str]] = frozenset({".clip"})
    input_name: ClassVar[str] = "clip"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    @staticmethod
    def key(value: Any) -> Any:
        return value

    @staticmethod
    def from_cells(cells: dict[str, Any]) -> str:
        ((column, value),) = cells.items()
        return text_cell(value, column)

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        content = Path(value).read_bytes()
        if not content.startswith(b"clip"):
            raise UserError(f"{source}: {value} is not a clip")
        return content, ".clip"


@pytest.fixture
def clips() -> Iterator[None]:
    add_kind(InputModalityConfig, ClipConfig)
    yield
    remove_kind(InputModalityConfig, ClipConfig)


def table(folder: Path, content: str, name: str = "data.csv") -> Path:
    (folder / name).write_text(content)
    if not (folder / "a.png").exists():
        Image.new("RGB", (8, 8), "red").save(folder / "a.png")
    return folder / name


def fields(dataset: Dataset) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in dataset.examples]


def test_a_role_takes_several_columns_also_one_whose_name_holds_a_plus(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "a.png,a shoe,3.5,Acme,yes,shoe\n")
    dataset = open_dataset(path, parse_columns("image=photo,tabular=price+C+++brand,label=kind"))
    (row,) = fields(dataset)
    assert row["tabular"] == {"price": "3.5", "C++": "yes", "brand": "Acme"}
    assert (row["text"], row["label"], dataset.columns["tabular"]) == ("a shoe", "shoe", "price, C++, brand")
    assert fields(open_dataset(path, {"tabular": "C++", "label": "kind"}))[0]["tabular"] == {"C++": "yes"}
    with pytest.raises(UserError, match=r"data.csv has no column 'colour'; choose from .*brand"):
        open_dataset(path, {"tabular": "price+colour"})
    with pytest.raises(UserError, match=r"has no column 'title\+brand'"):
        open_dataset(path, {"text": "title+brand"})


def test_a_row_may_lack_any_input_while_one_is_there(tmp_path: Path) -> None:
    rows = "a.png,a shoe,1,Acme,,x\n,,2,,,x\n,a hat,,,,y\na.png,,,,,y\n,,,,,y\ngone.png,a hat,1,,,y\n"
    dataset = open_dataset(table(tmp_path, HEADER + rows), parse_columns("image=photo,tabular=price+brand,label=kind"))
    assert [sorted(row) for row in fields(dataset)] == [
        ["image", "label", "tabular", "text"],
        ["label", "tabular"],
        ["label", "text"],
        ["image", "label"],
    ]
    assert fields(dataset)[1]["tabular"] == {"price": "2", "brand": None}
    assert [(row.source, row.missing) for row in dataset.skipped] == [("data.csv, row 5", True), ("data.csv, row 6", True)]
    assert dataset.skipped[0].reason == "column 'photo' is empty; fill it in or remove the row"


def test_empty_cells_of_a_row_skip_no_question(tmp_path: Path) -> None:
    path = table(tmp_path, "image,question,answer,price\na.png,what?,dog,\n,what?,dog,3\n")
    dataset = open_dataset(path, {"tabular": "price"})
    assert [sorted(row) for row in fields(dataset)] == [["answers", "image", "question"]]
    assert [row.source for row in dataset.skipped] == ["data.csv, row 2"]


def test_roles_are_known_from_a_header(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "a.png,a shoe,3.5,Acme,yes,shoe\n")
    columns = parse_columns("tabular=price,label=kind")
    assert roles_of_data(path, columns) == roles_of_data(tmp_path, columns) == ["image", "tabular", "text", "label"]
    assert roles_of_data(path, {"labels": "kind"}) == ["image", "text", "label"]
    assert roles_of_data("scenes:captioning") is None
    assert roles_of_data(tmp_path / "gone.csv") is None


def test_an_empty_column_leaves_a_role_out(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "a.png,a shoe,3.5,Acme,yes,shoe\n")
    columns = parse_columns("text=,label=kind")
    assert roles_of_data(path, columns) == ["image", "label"]
    assert open_dataset(path, columns).columns == {"image": "photo", "label": "kind"}
    with pytest.raises(UserError, match="no column has a usual name"):
        roles_of_data(path, {"image": "", "text": ""})


def test_columns_of_a_model_are_mapped_unless_the_user_maps_others(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + "a.png,a shoe,3.5,Acme,yes,shoe\n")
    trained = TabularModalityConfig(table=(NumberColumn("price"), NumberColumn("weight"), CategoryColumn("C++")))
    inputs = {"tabular": trained}
    assert with_model_columns(path, {"label": "kind"}, inputs) == {"label": "kind", "tabular": "price+C++"}
    assert with_model_columns(path, {"tabular": "brand"}, inputs) == {"tabular": "brand"}
    assert with_model_columns(path, {}, {}) == {}
    assert with_model_columns(tmp_path, {}, inputs) == {"tabular": "price+C++"}  # a folder stands for the table in it
    (tmp_path / "empty").mkdir()
    assert with_model_columns(tmp_path / "empty", {}, inputs) == {}
    other = table(tmp_path, "title,label\na,b\n", "other.csv")
    assert with_model_columns(other, {}, inputs) == {}


def test_cells_are_packed_as_what_they_are() -> None:
    cells = {"price": 3.5, "count": 2, "new": True, "brand": "Ä", "none": None, "kept": 0, "": "x"}
    image = Image.new("RGB", (2, 2))
    given = [{"tabular": cells}, {"tabular": {"kept": 0}}, {"tabular": {"a": [1]}}, {"image": image, "series": (1.0, 2.0)}]
    rows = Rows(Example(str(k), row) for k, row in enumerate(given))
    assert [dict(row.fields) for row in rows] == given
    many = Rows(Example(str(k), {"tabular": {"price": k / 7, "brand": f"brand {k % 50}", "season": None}}) for k in range(2000))
    assert len(pickle.dumps(many)) < 2000 * 60  # bytes a row


def test_rows_that_share_any_file_share_a_split(tmp_path: Path, clips: None) -> None:
    """Thirty clips of ten photos: photos that share a clip go together, too."""
    for k in range(30):
        (tmp_path / f"{k}.clip").write_bytes(b"clip %d" % k)
    for k in range(40):
        Image.new("RGB", (4, 4), (k, 0, 0)).save(tmp_path / f"{k}.png")
    rows = "".join(f"{k % 40}.png,{k % 30}.clip,row {k},{k % 3}\n" for k in (*range(30), *range(3), *range(60, 90)))
    dataset = open_dataset(table(tmp_path, "image,take,text,label\n" + rows))
    for role in ("image", "clip"):
        splits: dict[str, set[str]] = {}
        for row in dataset.examples:
            splits.setdefault(row.fields[role], set()).add(row.split)
        assert max(map(len, splits.values())) == 1, role
    assert set(dataset.splits) == {"train", "val"}
    assert fields(dataset)[0]["clip"] == str(tmp_path / "0.clip")


def test_rows_without_files_are_split_by_their_content(tmp_path: Path) -> None:
    rows = "".join(f"{k % 40},x{k % 40},{k % 2}\n" for k in range(200))
    dataset = open_dataset(table(tmp_path, "a,b,label\n" + rows), {"tabular": "a+b"})
    splits: dict[str, set[str]] = {}
    for row in dataset.examples:
        splits.setdefault(str(row.fields["tabular"]), set()).add(row.split)
    assert set(dataset.splits) == {"train", "val"} and max(map(len, splits.values())) == 1


def test_a_file_of_any_modality_that_is_missing_is_named(tmp_path: Path, clips: None) -> None:
    dataset = open_dataset(table(tmp_path, "take,label\ngone.clip,x\n"))
    assert [row.reason for row in dataset.skipped] == [f"{tmp_path / 'gone.clip'} does not exist; check column 'take'"]


def test_a_folder_of_any_files(tmp_path: Path, clips: None) -> None:
    for name in ("train/one", "dev/two"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.clip").write_bytes(b"clip")
        (tmp_path / f"{name}.txt").write_text("a sound\n")
    Image.new("RGB", (4, 4)).save(tmp_path / "train/one.png")
    dataset = open_dataset(tmp_path)
    assert [(row.id, row.split, sorted(row.fields)) for row in dataset.examples] == [
        ("dev/two.clip", "val", ["captions", "clip"]),
        ("train/one.clip", "train", ["captions", "clip", "image"]),
    ]


def test_shards_hold_files_of_any_modality_and_cells(tmp_path: Path, clips: None) -> None:
    (tmp_path / "a.clip").write_bytes(b"clip a")
    (tmp_path / "b.clip").write_bytes(b"noise")
    rows = [{"image": "a.png", "take": f"{k}.clip", "price": 2.5, "brand": None, "label": "x"} for k in "aab"]
    path = table(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")
    skipped: list[str] = []
    examples = open_dataset(path, {"tabular": "price+brand"}).examples
    written = write_shards(examples, tmp_path / "shards", 10_000, 0, lambda source, reason: skipped.append(reason))
    assert (written.num_rows, written.num_files, len(skipped)) == (2, 2, 1)
    read = fields(open_dataset(tmp_path / "shards"))
    assert read[0]["tabular"] == {"price": 2.5, "brand": None} and read[0]["label"] == "x"
    archive, _, place = read[0]["clip"].partition("#")
    first, size = map(int, place.split("+"))
    assert Path(archive).read_bytes()[first : first + size] == b"clip a"


def test_checks_open_files_of_any_modality(tmp_path: Path, clips: None) -> None:
    for name, content in (("a", b"clip a"), ("b", b"clip b"), ("copy", b"clip a"), ("bad", b"noise"), ("leak", b"clip b")):
        (tmp_path / f"{name}.clip").write_bytes(content)
    rows = "a.clip,x,train\nb.clip,y,train\ncopy.clip,x,train\nbad.clip,x,val\nleak.clip,y,val\na.clip,x,val\n"
    defects = check(open_dataset(table(tmp_path, "take,label,split\n" + rows)), files=True)
    assert [(one.kind, one.what) for one in defects] == [
        ("leak: a file in two splits", "data.csv, row 1: a.clip is in train and val"),
        ("unreadable file", f"data.csv, row 4: {tmp_path / 'bad.clip'} is not a clip"),
        ("leak: a file in two splits", "data.csv, row 3: copy.clip is the same as a.clip (data.csv, row 1)"),
        ("leak: a file in two splits", "data.csv, row 5: leak.clip is the same as b.clip (data.csv, row 2)"),
    ]


def labelled(columns: dict[str, list[Any]], labels: list[Any]) -> Iterator[Example]:
    rows = ({name: values[k] for name, values in columns.items()} for k in range(len(labels)))
    return (Example(str(k), {"tabular": row, "label": labels[k]}) for k, row in enumerate(rows))


def leaks(columns: dict[str, list[Any]], labels: list[Any]) -> list[str]:
    return [column.name for column in leaking_columns(Rows(labelled(columns, labels)))]


def test_a_column_that_gives_the_label_away_is_found_and_no_other() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["cat", "dog", "cow"], 600, p=[0.5, 0.3, 0.2]).tolist()
    columns: dict[str, list[Any]] = {
        "code": [{"cat": 1, "dog": 2.0, "cow": "3"}[label] for label in labels],
        "seen": [label == "cow" for label in labels],
        "partly": ["by phone" if label == "dog" and k % 2 else None if k % 7 == 0 else "else" for k, label in enumerate(labels)],
        "the label": [label.upper() for label in labels],
        "id": list(range(600)),
        "price": rng.random(600).tolist(),
        "good hint": [label if rng.random() < 0.8 else rng.choice(["cat", "dog", "cow"]) for label in labels],
        "noise": rng.integers(0, 60, 600).tolist(),
        "empty": [None] * 600,
        "nan": [float("nan")] * 600,
        "one value": ["x"] * 600,
    }
    assert leaks(columns, labels) == ["code", "seen", "partly", "the label"]
    assert leaks({"price": [3.0, 2.5] * 20 + [9.25]}, ["3.0", "2.5"] * 20 + ["9.25"]) == ["price"]
    assert leaks({"a": [1, 2] * 4}, ["x", "y"] * 4) == []  # too few rows to tell
    assert leaks({"a": ["x"] * 100 + ["y"]}, ["one"] * 100 + ["other"]) == []  # nearly all rows have one label anyhow
    assert leaks({"a": [1] * 60}, ["x"] * 60) == []
    assert leaks({"a": [1, 2] * 30}, [("x",), ("x", "y")] * 30) == ["a"]


def test_data_check_reports_a_leaking_column(braid: Braid, tmp_path: Path) -> None:
    rows = "".join(f"text {k},{k % 5},{'follow up' if k % 3 else 'lab'},{'well' if k % 3 else 'ill'}\n" for k in range(90))
    path = table(tmp_path, "text,age,confirmed_by,label\n" + rows)
    ran = braid("data", "check", path, "--columns", "tabular=age+confirmed_by", "--json")
    (defect,) = [one for one in json.loads(ran.out)["defects"] if one["kind"].startswith("leak")]
    assert defect["kind"] == "leak: a column repeats the label"
    what = "column 'confirmed_by' gives the label away in 100% of rows: 'follow up' is always 'well'"
    assert [row["what"] for row in defect["rows"]] == [what]
    assert "leak: a column" not in braid("data", "check", path, "--columns", "tabular=age").out


def test_a_rule_that_is_right_on_rows_it_never_saw_gives_the_label_away() -> None:
    rng = np.random.default_rng(0)
    labels = ["ill" if number % 3 == 0 else "well" for number in range(400)]
    ill = np.array(labels) == "ill"
    columns: dict[str, list[Any]] = {
        "score": (0.5 * rng.random(400) + 0.5 * ill).tolist(),  # above 0.5 for every ill row, never twice the same
        "noisy score": (0.8 * rng.random(400) + 0.2 * ill).tolist(),
        "file": [f"scans/{label}/{number}.png" for number, label in enumerate(labels)],
        "note": [f"looks {rng.choice(['ill', 'well'])}" for _ in labels],
        "both": ["ill or well"] * 400,
        "room": [f"room {number % 30}" for number in range(400)],  # each with some rows of one label
        "case": [f"case {number}" for number in range(400)],
    }
    ruled = "its values alone tell the label of 100% of rows that were held out"
    assert list(map(str, leaking_columns(Rows(labelled(columns, labels))))) == [
        f"column 'score' gives the label away in 100% of rows: {ruled}",
        "column 'file' gives the label away in 100% of rows: it names the label, as in 'scans/ill/0.png'",
        f"column 'room' gives the label away in 100% of rows: {ruled}",
    ]
    prices = np.round(rng.random(400) * 100, 2)
    numbers: dict[str, list[Any]] = {
        "gross": (1.19 * prices + 3).tolist(),
        "size": (prices + 20 * rng.random(400)).tolist(),
        "brand": [f"brand {number % 7}" for number in range(400)],
    }
    (leak,) = leaking_columns(Rows(labelled(numbers, list(map(str, prices)))))
    ruled = "its values alone explain 100.0% of the label on rows that were held out"
    assert str(leak) == f"column 'gross' gives the label away in 100% of rows: {ruled}"


def test_an_unused_column_that_gives_the_label_away_is_named_and_not_proposed(braid: Braid, tmp_path: Path) -> None:
    names = {"well": "w", "ill": "i"}
    lines = [("ill", "well")[number % 3 > 0] for number in range(90)]
    seen = ["follow up" if label == "well" else ("lab", "home")[number % 2] for number, label in enumerate(lines)]
    cells = (
        f"text {number},{names[label]},{number},{seen[number]},{20 + number % 41},{'mf'[number % 2]},,{label}\n"
        for number, label in enumerate(lines)
    )
    path = table(tmp_path, "text,dx,lesion_id,confirmed_by,age,sex,empty,label\n" + "".join(cells))
    ran = braid("data", "check", path)
    unused = "dx, lesion_id, confirmed_by, age, sex, empty"
    rest = "do not map it, unless you know it before the label"
    assert [line for line in ran.err.splitlines() if "used" in line or "leak" in line] == [
        f"not used: {unused}; map those that you know before the label with --columns, for example tabular=age+sex",
        f"suspected leak: column 'dx' gives the label away in 100% of rows: 'w' is always 'well'; {rest}",
        f"suspected leak: column 'confirmed_by' gives the label away in 67% of rows: 'follow up' is always 'well'; {rest}",
    ]
    suspected = json.loads(braid("data", "check", path, "--json").out)["suspected_leaks"]
    assert list(suspected) == ["dx", "confirmed_by"]
    assert json.loads(braid("data", "check", path, "--columns", "tabular=dx+age", "--json").out)["suspected_leaks"].keys() == {
        "confirmed_by"
    }


def test_unused_columns_of_several_tables_are_tested_together(braid: Braid, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(
            "".join(
                json.dumps({"text": f"{split} {number}", "label": number % 2, "code": f"c{number % 2}", split: [number]}) + "\n"
                for number in range(40)
            )
        )
    told = json.loads(braid("data", "check", tmp_path, "--json").out)
    assert (told["unused"], list(told["suspected_leaks"])) == (["code", "train", "val"], ["code"])


def test_columns_without_a_role_are_named(braid: Braid, tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("text,label,season,gender\na shoe,shoe,Fall,Men\na sock,sock,Summer,Women\n")
    assert (
        "not used: season, gender; map those that you know before the label with --columns, for example tabular=season+gender"
        in braid("data", "check", path).err
    )
    ran = braid("data", "check", path, "--columns", "tabular=season+gender", "--json")
    assert json.loads(ran.out)["unused"] == []


def test_a_category_that_training_never_showed_is_noted_on_the_command_line(braid: Braid, tmp_path: Path) -> None:
    rows = [f"{('shoe', 'sock')[k % 2]},{('Fall', 'Summer')[k % 2]},{('train', 'val')[k > 7]}" for k in range(12)]
    (tmp_path / "products.csv").write_text("\n".join(["label,season,split", *rows]) + "\n")
    columns = {"tabular": "season", "label": "label"}
    run = {"task": "classification", "data": {"path": str(tmp_path / "products.csv"), "columns": columns}, "model": "tiny"}
    train(run_from({**run, "epochs": 1, "workers": 0, "threads": 1}), tmp_path / "run")
    known = braid("classify", "--model", tmp_path / "run", "--input", "tabular=season=Fall")
    assert (known.code, known.err) == (0, "")
    ran = braid("classify", "--model", tmp_path / "run", "--input", "tabular=season=Fal")
    assert ran.code == 0
    assert (
        "--input tabular: season 'Fal' was not in the training data; choose from Fall, Summer (did you mean 'Fall'?)" in ran.err
    )


@pytest.mark.parametrize(
    ("columns", "sides"),
    [
        ("audio", ("audio", "prompt")),
        ("video", ("video", "prompt")),
        ("image,audio", ("image", "prompt")),
    ],
)
def test_retrieval_compares_texts_with_what_a_data_set_has(columns: str, sides: tuple[str, str], tmp_path: Path) -> None:
    names = [name for name in (*columns.split(","), "caption") if name]
    (tmp_path / "rows.csv").write_text(f"{','.join(names)}\n{','.join('x' for _ in names)}\n")
    data = {"path": str(tmp_path / "rows.csv")}
    run = run_from(default_run("retrieval", data))
    assert run.task.sides == sides and set(run.model.encoders) >= set(sides)
    kept = run_from(
        {**default_run("retrieval", data), "task": {"kind": "retrieval", "sides": ["image", "prompt"]}, "model": "compact"}
    )
    assert kept.task.sides == ("image", "prompt")
