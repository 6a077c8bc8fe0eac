"""Tables as other programs write them: separators, quotes, decimal commas, lists as text, and paths that are none."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from braid.datasets import Dataset, open_dataset
from braid.datasets.table import parse_columns, read_table
from braid.errors import UserError
from braid.files.reading import find_files

ROWS = [("a.png", "a dog, running"), ("a.png", "two cats; a mat"), ("a.png", "a | b")]


def opened(home: Path, content: str, name: str = "data.csv", columns: str = "") -> Dataset:
    Image.new("RGB", (8, 6)).save(home / "a.png")
    (home / name).write_text(content)
    return open_dataset(home / name, parse_columns(columns))


def captions(dataset: Dataset) -> tuple[str, ...]:
    return tuple(text for row in dataset.examples for text in row.fields["captions"])


@pytest.mark.parametrize(("mark", "what"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "")])
@pytest.mark.parametrize("name", ["data.csv", "data.tsv", "captions.txt"])
def test_the_separator_is_recognised_and_said(name: str, mark: str, what: str, tmp_path: Path) -> None:
    rows = [(file, f'"{text}"' if mark in text else text) for file, text in ROWS]
    dataset = opened(tmp_path, "".join(f"{mark.join(row)}\n" for row in [("image", "caption"), *rows]), name)
    assert (captions(dataset), dataset.skipped) == (tuple(text for _, text in ROWS), ())
    own = "\t" if name.endswith("tsv") else ","
    said = f"its cells are separated by {what or 'commas'}"
    assert dataset.notes == (() if mark == own else (said,))


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;"])
def test_the_first_line_may_name_the_separator(first: str, tmp_path: Path) -> None:
    dataset = opened(tmp_path, f'{first}\nimage;caption\na.png;a dog\na.png;"a cat')
    assert captions(dataset) == ("a dog",)
    assert [row.reason for row in dataset.skipped] == ["line 4 begins a quote that never ends; close the quote"]


@pytest.mark.parametrize(
    "content",
    [
        "text\nhello, world\nyes\n",  # one column
        "label,caption;title\nx,a;b\n",  # a name with a semicolon
        "a|b,caption\nx,a|b\n",
    ],
)
def test_a_table_with_its_own_separator_stays_as_it_is(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(content)
    table = read_table(tmp_path / "data.csv")
    assert (table.columns, table.notes) == (tuple(content.split("\n")[0].split(",")), {})


def test_text_that_only_looks_like_a_table_stays_text(tmp_path: Path) -> None:
    for content in ("Image, caption\n", "a dog, a cat\na bus, a car\n", "title,text\na,b\n"):
        assert opened(tmp_path, content * 3, "x.txt").format == ("lines of text" if "caption" not in content else "table (txt)")


def test_decimal_commas_of_a_table_with_semicolons_are_numbers(tmp_path: Path) -> None:
    content = "text;price;label\na shoe, red;3,5;x\na hat;-1.234,25;y\na coat;7;x\nSize 3,5;1.000;y\n"
    dataset = opened(tmp_path, content, columns="tabular=price")
    prices = [row.fields["tabular"]["price"] for row in dataset.examples]
    assert prices == ["3.5", "-1234.25", "7", "1.000"]
    assert [row.fields["text"] for row in dataset.examples] == ["a shoe, red", "a hat", "a coat", "Size 3,5"]
    assert dataset.notes == ("its cells are separated by semicolons", "3,5 is read as the number 3.5")
    (tmp_path / "in.csv").write_text('text,price\na,"3,5"\n')
    assert read_table(tmp_path / "in.csv").rows == ({"text": "a", "price": "3,5"},)


QUOTE = 'has a quote within quotes; write it twice ("")'


@pytest.mark.parametrize(
    ("lines", "expected", "reasons"),
    [
        (['a.png,"a \\"big\\" dog"', "a.png,a cat"], ('a "big" dog', "a cat"), []),
        (['a.png,"\\"big\\", it said"'], ('"big", it said',), []),
        (['a.png,"a disk of 5\\""', 'a.png,"a cat"'], ('a disk of 5"', "a cat"), []),
        (['a.png,"a ""big"" dog\\"', "a.png,a cat"], ('a "big" dog\\', "a cat"), []),  # a backslash, as it is
        (['a.png, "a dog, running"', "a.png,a cat"], ("a dog, running", "a cat"), []),
        (['a.png,a "big" dog', 'a.png,5" disk'], ('a "big" dog', '5" disk'), []),
        (['a.png,"a "big" dog"', "a.png,a cat"], ("a cat",), [f"line 2 {QUOTE}"]),
        (
            ['a.png,"a dog', "a.png,a cat", "a.png,a bus"],
            ("a cat", "a bus"),
            ["line 2 begins a quote that never ends; close the quote"],
        ),
        (
            ['a.png,"a dog', 'a.png,"a cat"', "a.png,a bus"],
            ("a cat", "a bus"),
            ["line 2 begins a quote that never ends; close the quote"],
        ),
        (['a.png,"two', 'lines"', "a.png,a cat"], ("two\nlines", "a cat"), []),
        (["a.png,a dog,", "a.png,a cat"], ("a cat",), ["has 3 cells, the header has 2; quote cells that hold the separator"]),
    ],
)
def test_quotes_are_read_or_told(lines: list[str], expected: tuple[str, ...], reasons: list[str], tmp_path: Path) -> None:
    dataset = opened(tmp_path, "image,caption\n" + "".join(f"{line}\n" for line in lines))
    assert captions(dataset) == expected
    assert [row.reason for row in dataset.skipped] == reasons
    escaped = any('\\"' in line for line in lines) and expected[0].count('"') and not expected[0].endswith("\\")
    assert dataset.notes == (('\\" within a cell is read as a quote',) if escaped else ())


def test_a_header_whose_quotes_are_wrong_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data.csv, line 2: a quote in the header is not closed, or stands within quotes"):
        opened(tmp_path, 'image,"caption\na.png,a dog\n')


LISTS = [
    ("['a ball', 'a round thing']", ("a ball", "a round thing")),
    ("['it\\'s', \"it's\", None, '']", ("it's", "it's")),
    ("['a ball' 'a round thing']", ("a ball", "a round thing")),  # numpy
    ("['a ball'\n \"it's\"]", ("a ball", "it's")),
    ("('a ball', 'b')", ("a ball", "b")),
    ("('a ball',)", ("a ball",)),
    ("{'a ball', 'b'}", ("a ball", "b")),
    ("['a ball', nan]", ("a ball",)),
    ('["a ball", null]', ("a ball",)),
    ("[ 'a ball' , 'b' , ]", ("a ball", "b")),
    ("['caf\\xe9']", ("café",)),
    ("[Music]", ("[Music]",)),
    ("(a dog)", ("(a dog)",)),
    ("[a] and [b]", ("[a] and [b]",)),
    ("('a') or ('b')", ("('a') or ('b')",)),
    ("{a}", ("{a}",)),
]


@pytest.mark.parametrize(("cell", "expected"), LISTS)
def test_lists_as_programs_print_them_are_lists(cell: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    quoted = cell.replace('"', '""')
    dataset = opened(tmp_path, f'image,captions\na.png,"{quoted}"\n')
    assert captions(dataset) == expected
    is_list = expected != (cell,)
    assert dataset.notes == (("column 'captions' holds lists, which are read as such",) if is_list else ())


@pytest.mark.parametrize("cell", ["[['a'], ['b']]", "{'en': 'a dog'}", '{"en": "a dog"}', "['a', ['b']]", "[('a', 'b')]"])
def test_lists_of_lists_and_objects_are_told(cell: str, tmp_path: Path) -> None:
    quoted = cell.replace('"', '""')
    dataset = opened(tmp_path, f'image,captions\na.png,"{quoted}"\na.png,a dog\n')
    assert captions(dataset) == ("a dog",)
    assert "not text; fill it in or remove the row" in dataset.skipped[0].reason


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("labels", "['cat', 'dog']", ("cat", "dog")),
        ("labels", "['cat' 'dog']", ("cat", "dog")),
        ("labels", "[1 2]", ("1", "2")),
        ("labels", "['cat']", ("cat",)),
        ("labels", "[]", ()),
        ("labels", "cat, dog", ("cat", "dog")),
        ("labels", "cat;dog", ("cat", "dog")),
        ("labels", "cat | dog, big", ("cat", "dog, big")),
        ("labels", "cat", ("cat",)),
        ("label", "['cat', 'dog']", ("cat", "dog")),
        ("label", "cat, dog", "cat, dog"),
        ("label", "[0, 10]", "[0, 10]"),
        ("label", "(0, 10]", "(0, 10]"),
    ],
)
def test_lists_of_labels(column: str, cell: str, expected: Any, tmp_path: Path) -> None:
    dataset = opened(tmp_path, f'image,{column}\na.png,"{cell}"\n')
    assert dataset.examples[0].fields["label"] == expected


def test_labels_with_commas_are_said_and_can_be_read_as_one(tmp_path: Path) -> None:
    content = 'image,labels\na.png,"goldfish, Carassius auratus"\n'
    (note,) = opened(tmp_path, content).notes
    assert note == "column 'labels' holds several labels with ',' between them (--columns label=labels reads one)"
    dataset = opened(tmp_path, content, columns="label=labels")
    assert (dataset.examples[0].fields["label"], dataset.notes) == ("goldfish, Carassius auratus", ())


def test_answers_that_python_printed(tmp_path: Path) -> None:
    dataset = opened(tmp_path, "image,question,answers\na.png,what?,\"['red', 'dark red']\"\n")
    assert dataset.examples[0].fields["answers"] == ("red", "dark red")


def photo() -> str:
    with io.BytesIO() as file:
        Image.new("RGB", (30, 20)).save(file, "JPEG")
        return base64.b64encode(file.getvalue()).decode()


NO_PATHS = {
    "https://example.org/dog.jpg": "is a web address; download the image and give its path",
    "HTTPS://example.org/dog.jpg": "is a web address; download the image and give its path",
    "s3://bucket/dog.jpg": "is a web address; download the image and give its path",
    "gs://bucket/dog.jpg": "is a web address; download the image and give its path",
    "file:///home/me/dog.jpg": "is an address of a file; give its path alone",
    "data:image/png;base64,AAAA": "is a data URI; save the image to a file and give its path",
    "Data:image/png;base64,AAAA": "is a data URI; save the image to a file and give its path",
    photo(): "is base64; save the image to a file and give its path",
    "['a.png', 'b.png']": "is a list or an object; give the path of one image",
    "{'url': 'a.png'}": "is a list or an object; give the path of one image",
    "b'\\xff\\xd8\\xff'": "is bytes as Python prints them; save the image to a file and give its path",
    "d" * 300 + ".png": "is longer than a file name can be; give the path of the image",
}


@pytest.mark.parametrize(("value", "reason"), NO_PATHS.items())
def test_an_image_that_is_no_path_is_told_by_its_true_cause(value: str, reason: str, tmp_path: Path) -> None:
    shown = value if len(value) <= 60 else f"{value[:60]}..."
    dataset = opened(tmp_path, json.dumps({"image": value, "caption": "a dog"}) + "\n", "data.jsonl")
    assert [row.reason for row in dataset.skipped] == [f"column 'image' holds {shown}, which {reason}"]
    whole = {"images": [{"id": 1, "file_name": value}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
    dataset = opened(tmp_path, json.dumps(whole), "captions_val.json")
    assert [row.reason for row in dataset.skipped] == [f"has the image {shown}, which {reason}"]
    with pytest.raises(UserError) as caught:
        find_files([value], [".png"], "image")
    assert str(caught.value) == f"{shown} {reason}"
    with pytest.raises(UserError, match="^" + ("https://x.org/a.csv is a web address; download the data set and give its path")):
        open_dataset("https://x.org/a.csv")


def test_backslashes_of_windows_are_tried_as_slashes(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "img" / "0.png")
    wanted = str(tmp_path / "img" / "0.png")
    dataset = opened(tmp_path, "image,caption\nimg\\0.png,a dog\n.\\img\\0.png,a cat\nimg\\1.png,a bus\n")
    assert [row.fields["image"].replace("/./", "/") for row in dataset.examples] == [wanted, wanted]
    assert len(dataset.skipped) == 1
    whole = {"images": [{"id": 1, "file_name": "img\\0.png"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
    assert opened(tmp_path, json.dumps(whole), "captions_val.json").examples[0].fields["image"] == wanted
    assert find_files([f"{tmp_path}\\img\\0.png"], [".png"]) == [wanted]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('image="image, path",captions=my caption', {"image": "image, path", "captions": "my caption"}),
        ('image = "image, path" , captions="a=b"', {"image": "image, path", "captions": "a=b"}),
        ('captions="the ""best"", one"', {"captions": 'the "best", one'}),
        ('tabular="price, net"+brand+"a+b",text=', {"tabular": "price, net+brand+a+b", "text": ""}),
        ('image=5" photo,label=x', {"image": '5" photo', "label": "x"}),
        ("image=photo,captions=title", {"image": "photo", "captions": "title"}),
    ],
)
def test_a_column_whose_name_has_a_comma_is_mapped_in_quotes(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    assert parse_columns(text) == expected


def test_columns_in_quotes_are_found_in_the_table(tmp_path: Path) -> None:
    content = '"image, path","a=b","price, net",brand\na.png,a dog,3,Acme\n'
    dataset = opened(tmp_path, content, columns='image="image, path",captions=a=b,tabular="price, net"+brand')
    (row,) = dataset.examples
    assert (row.fields["captions"], row.fields["tabular"]) == (("a dog",), {"price, net": "3", "brand": "Acme"})
    with pytest.raises(UserError, match='a name with a comma stands in quotes: image="photo, path"'):
        opened(tmp_path, content, columns="image=image, path")
