"""Every reader of texts follows one rule: byte order marks, UTF-16, the ends of lines, bytes that are no text; and one bad
annotation leaves out itself."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from braid.cli.evaluate import read_predictions, read_references
from braid.cli.serve import _keys as read_keys
from braid.config import parse_yaml
from braid.datasets import Dataset, lines, open_dataset
from braid.errors import UserError
from braid.reports.description import read_settings
from braid.training import read_run

TEXTS = ["a café", "a\u2028b", "a\x85b\x0cc"]
ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 with a mark": lambda text: text.encode("utf-16"),
    "big-endian UTF-16 with a mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32 with a mark": lambda text: text.encode("utf-32"),
}
ENDS = ["\n", "\r\n", "\r"]


def coco(texts: list[Any]) -> dict[str, Any]:
    notes = [{"image_id": 1, "caption": text} for text in texts]
    return {"images": [{"id": 1, "file_name": "a.png"}], "annotations": notes}


def karpathy(texts: list[Any]) -> dict[str, Any]:
    return {"images": [{"filename": "a.png", "split": "train", "sentences": [{"raw": text} for text in texts]}]}


def indented(whole: Any) -> str:
    return json.dumps(whole, ensure_ascii=False, indent=1)


# format -> name of the file and its text, from the captions of a.png
FORMATS: dict[str, tuple[str, Callable[[list[str]], str]]] = {
    "COCO": ("captions_train.json", lambda texts: indented(coco(texts))),
    "Karpathy": ("dataset_x.json", lambda texts: indented(karpathy(texts))),
    "Flickr": ("x.token.txt", lambda texts: "".join(f"a.png#{k}\t{text}\n" for k, text in enumerate(texts))),
    "text files": ("a.txt", lambda texts: "".join(f"{text}\n" for text in texts)),
    "csv": ("data.csv", lambda texts: "image,caption\n" + "".join(f"a.png,{text}\n" for text in texts)),
    "tsv": ("data.tsv", lambda texts: "image\tcaption\n" + "".join(f"a.png\t{text}\n" for text in texts)),
    "jsonl": ("data.jsonl", lambda texts: "".join(json.dumps({"image": "a.png", "caption": text}) + "\n" for text in texts)),
    "json": ("data.json", lambda texts: indented([{"image": "a.png", "caption": text} for text in texts])),
}


def opened(home: Path, kind: str, content: bytes) -> Dataset:
    Image.new("RGB", (8, 6)).save(home / "a.png")
    name, _ = FORMATS[kind]
    (home / name).write_bytes(content)
    return open_dataset(home if kind == "text files" else home / name)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_encoding_gives_the_same_captions(kind: str, encoding: str, tmp_path: Path) -> None:
    dataset = opened(tmp_path, kind, ENCODINGS[encoding](FORMATS[kind][1](TEXTS)))
    assert dataset.skipped == ()
    assert [row.fields["captions"] for row in dataset.examples] == [tuple(TEXTS)]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_end_of_a_line_gives_the_same_captions(kind: str, end: str, tmp_path: Path) -> None:
    dataset = opened(tmp_path, kind, FORMATS[kind][1](TEXTS).replace("\n", end).encode())
    assert dataset.skipped == ()
    assert [row.fields["captions"] for row in dataset.examples] == [tuple(TEXTS)]


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_that_are_no_text_are_named_with_their_line(kind: str, tmp_path: Path) -> None:
    content = FORMATS[kind][1](["a dog", "a QQ"]).encode().replace(b"QQ", b"caf\xe9")
    before = content[: content.index(b"\xe9")]
    place = f"is not UTF-8 text (line {1 + before.count(10)}, byte {len(before)}); save it as UTF-8"
    name = FORMATS[kind][0]
    if kind == "text files":  # one file of many
        assert [row.reason for row in opened(tmp_path, kind, content).skipped] == [f"{name} {place}"]
        return
    with pytest.raises(UserError) as caught:
        opened(tmp_path, kind, content)
    assert str(caught.value) == f"{tmp_path / name} {place}"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_character_0_leaves_out_its_text(kind: str, tmp_path: Path) -> None:
    content = FORMATS[kind][1](["a dog", "a QQ", "a cat"]).encode()
    zero = b"\\u0000" if FORMATS[kind][0].endswith(("json", "jsonl")) else b"\0"
    dataset = opened(tmp_path, kind, content.replace(b"QQ", zero))
    assert [row.fields["captions"] for row in dataset.examples] == [("a dog", "a cat")]
    (skipped,) = dataset.skipped
    assert skipped.reason.endswith("holds a character 0, which is not text; write it again")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_caption_is_dropped_and_the_others_stay(kind: str, tmp_path: Path) -> None:
    if kind in ("csv", "tsv", "jsonl", "json"):
        Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
        rows = [{"image": "a.png", "captions": ["a dog", "", " ", None, "a cat"]}, {"image": "a.png", "captions": ["", None]}]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        dataset = open_dataset(tmp_path / "data.jsonl")
        reasons = ["column 'captions' is empty; fill it in or remove the row"]
    else:
        dataset = opened(tmp_path, kind, FORMATS[kind][1](["a dog", "", " ", "a cat"]).encode())
        reasons = []
    assert [row.fields["captions"] for row in dataset.examples] == [("a dog", "a cat")]
    assert [row.reason for row in dataset.skipped] == reasons


def test_numbered_columns_of_which_one_is_empty(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    (tmp_path / "data.csv").write_text("image,caption_0,caption_1,caption_2\na.png,a dog,  ,a cat\n")
    assert open_dataset(tmp_path / "data.csv").examples[0].fields["captions"] == ("a dog", "a cat")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_of_text_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    content = ENCODINGS[encoding]("".join(f"{text}\r\n" for text in TEXTS))
    (tmp_path / "x.txt").write_bytes(content)
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(content))
    for name in ("x.txt", "x.txt.gz"):
        assert [row.fields["text"] for row in open_dataset(tmp_path / name).examples] == TEXTS


def test_lines_of_text_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "zero.txt").write_bytes(b"a dog\na \0cat\nbirds\n")
    dataset = open_dataset(tmp_path / "zero.txt")
    assert [row.fields["text"] for row in dataset.examples] == ["a dog", "birds"]
    assert [(row.source, row.reason) for row in dataset.skipped] == [
        ("zero.txt, line 2", "holds a character 0, which is not text; write it again")
    ]
    (tmp_path / "latin.txt.gz").write_bytes(gzip.compress(b"a dog\r\na caf\xe9\n"))
    with pytest.raises(UserError, match=r"latin.txt.gz is not UTF-8 text \(line 2, byte 12\); save it as UTF-8"):
        open_dataset(tmp_path / "latin.txt.gz")
    (tmp_path / "latin.txt.gz").write_bytes(gzip.compress(b"a caf\xe9\n" * 9000)[:-8] + b"\0" * 8)  # another sum
    with pytest.raises(UserError, match="latin.txt.gz is not UTF-8 text"):
        open_dataset(tmp_path / "latin.txt.gz")


def test_gzip_that_unpacks_to_more_than_text_can_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ROOM", 100_000)
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"a\n" * 1_000_000))
    with pytest.raises(UserError, match="x.txt.gz unpacks to more than 200 times its size, which no text does"):
        open_dataset(tmp_path / "x.txt.gz")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_beside_data_sets_are_read_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    def written(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(ENCODINGS[encoding](text))
        return tmp_path / name

    assert read_predictions(written("mine.json", '{"1": "a dog"}')) == {"1": "a dog"}
    assert read_references(written("truth.json", '{"1": ["a dog"]}')) == {"1": ["a dog"]}
    assert read_keys(written("keys.txt", "secret\r\nother\r\n")) == (b"secret", b"other")
    run = "task: captioning\ndata: {path: scenes:captioning}\nmodel: tiny\n"
    assert read_run(written("my.yaml", run)).data.path == "scenes:captioning"
    written("run.yaml", "task: {kind: captioning}\ndata: {path: a}\nmodel: {kind: b}\n")
    assert read_settings(tmp_path)["data"] == {"path": "a"}


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        ([{"image_id": 1}], {"captions_train.json, annotation 4": "lacks 'caption'; "}),
        ([{"image_id": 1, "caption": None}], {"captions_train.json, annotation 4": "lacks 'caption'; "}),
        ([{"image_id": 1, "caption": 3}], {"captions_train.json, annotation 4": "has the caption 3, which is not text"}),
        ([{"caption": "x"}, None, [1]], {f"captions_train.json, annotation {k}": "" for k in (4, 5, 6)}),
        ([{"image_id": 2}], {"captions_train.json, image 2": "lacks 'caption'; a COCO caption file has images"}),
    ],
)
def test_a_bad_annotation_of_coco_leaves_out_itself(rows: list[Any], reasons: dict[str, str], tmp_path: Path) -> None:
    whole = coco(["a dog", "a cat"])
    whole["images"].append({"id": 2, "file_name": "a.png"})
    whole["annotations"].append({"image_id": 2, "caption": ""})
    whole["annotations"] += rows
    if "captions_train.json, image 2" not in reasons:
        whole["annotations"].append({"image_id": 2.0, "caption": "a bird"})
    dataset = opened(tmp_path, "COCO", json.dumps(whole).encode())
    assert dataset.examples[0].fields["captions"] == ("a dog", "a cat")
    assert len(dataset.examples) == (1 if "captions_train.json, image 2" in reasons else 2)
    told = {row.source: row.reason for row in dataset.skipped}
    assert told.keys() == reasons.keys()
    assert all(told[source].startswith(reason) for source, reason in reasons.items())


def test_a_bad_image_of_coco_leaves_out_itself_and_is_told_once(tmp_path: Path) -> None:
    whole = coco(["a dog"])
    whole["images"] += [{"id": 2}, {"file_name": "a.png"}, None, {"id": 1, "file_name": "b.png"}, {"id": 3, "file_name": ""}]
    whole["annotations"] += [{"image_id": key, "caption": "lost"} for key in (2, 3, 4)]
    dataset = opened(tmp_path, "COCO", json.dumps(whole).encode())
    assert [row.fields["captions"] for row in dataset.examples] == [("a dog",)]
    shape = "a COCO caption file has images (id, file_name) and annotations (image_id, caption)"
    assert {row.source: row.reason for row in dataset.skipped} == {
        "captions_train.json, image 2": f"lacks 'file_name'; {shape}",
        "captions_train.json, row 3 of the images": f"lacks 'id'; {shape}",
        "captions_train.json, row 4 of the images": f"is not a JSON object; {shape}",
        "captions_train.json, image 1": "has the id of an earlier image; give every image an id of its own",
        "captions_train.json, image 3": "has an empty file_name; fill it in or remove the image",
        "captions_train.json, image 4": "has 1 captions and is not among the images; add it there or remove them",
    }


def test_a_bad_sentence_or_image_of_karpathy_leaves_out_itself(tmp_path: Path) -> None:
    whole = karpathy(["a dog", 3, None, "a cat"])
    whole["images"] += [{"filename": "a.png", "sentences": [{"raw": "again"}]}, {"filename": "b.png", "sentences": "text"}, 5]
    dataset = opened(tmp_path, "Karpathy", json.dumps(whole).encode())
    assert [row.fields["captions"] for row in dataset.examples] == [("a dog", "a cat")]
    shape = "an image has filename, split and sentences (raw)"
    assert {row.source: row.reason for row in dataset.skipped} == {
        "dataset_x.json, image 1, sentence 2": "has the caption 3, which is not text; write one or remove it",
        "dataset_x.json, image 1, sentence 3": f"lacks 'raw'; {shape}",
        "dataset_x.json, image 2": "is a.png again; put all sentences of an image into one entry",
        "dataset_x.json, image 3": f"has sentences that are no list; {shape}",
        "dataset_x.json, image 4": f"is not a JSON object; {shape}",
    }


def test_yaml_whose_merge_keys_fill_the_memory_is_refused(tmp_path: Path) -> None:
    rows = ["x0: &x0 {a: 1}"] + [f"x{k}: &x{k} {{<<: [{', '.join([f'*x{k - 1}'] * 9)}]}}" for k in range(1, 12)]
    with pytest.raises(UserError, match=r"has a merge key \(<<\), which is not read; write every setting out"):
        parse_yaml("\n".join(rows))
    (tmp_path / "run.yaml").write_text("a: &a {task: captioning}\n<<: *a\n")
    with pytest.raises(UserError, match=r"run.yaml has a merge key \(<<\)"):
        read_run(tmp_path / "run.yaml")
    assert parse_yaml("a: &a [1, 2]\nb: *a\n'<<': 3") == yaml.safe_load("{a: [1, 2], b: [1, 2], '<<': 3}")
