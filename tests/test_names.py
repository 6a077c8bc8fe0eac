"""Names of files that are not UTF-8 are carried through, odd texts of people are one message; and what reaches a terminal."""

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from PIL import Image

import braid as library
from braid.cli.console import printable
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.files import file_named, user_path, writable, write_whole
from conftest import Ran

Braid = Callable[..., Ran]
Form = Literal["NFC", "NFD"]

LATIN = os.fsdecode(b"caf\xe9")  # a name in Latin-1
HALF = "holds half a character (a lone surrogate), which is not text; write it again"


@pytest.fixture
def odd(photos: Path) -> Path:
    """A folder whose name is not UTF-8, with two images of which one has such a name, their captions, and a table."""
    folder = photos.parent / f"{LATIN}s"
    folder.mkdir()
    for place, name in enumerate((f"{LATIN}.png", "ok.png")):
        shutil.copy(photos / f"{place}.png", folder / name)
        (folder / name).with_suffix(".txt").write_text("a ball\n")
    rows = [{"image": name, "caption": "a ball"} for name in (f"{LATIN}.png", "ok.png")]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_name_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / f"{LATIN}.png"
    path.touch()
    assert writable(str(path)) == str(tmp_path / "caf\\udce9.png")
    assert file_named(writable(str(path))) == str(path)
    assert file_named(str(path)) == str(path)
    assert file_named("gone\\udce9.png") == "gone\\udce9.png"
    (tmp_path / "caf\\udce9.png").touch()  # a name with a backslash
    assert file_named(writable(str(path))) == str(tmp_path / "caf\\udce9.png")


def test_half_a_character_in_json_and_yaml(tmp_path: Path) -> None:
    for value in ({"path": LATIN}, ["\ud83d", "whole \U0001f600"], {"\udce9": "é"}):
        write_whole(tmp_path / "a.json", json.dumps(value, ensure_ascii=False))
        assert read(tmp_path / "a.json") == value
        write_whole(tmp_path / "a.yaml", yaml.safe_dump(value, allow_unicode=True))
        assert yaml.safe_load((tmp_path / "a.yaml").read_text(encoding="utf-8")) == value


def test_every_verb_carries_a_name_through(braid: Braid, captioner: Path, odd: Path, tmp_path: Path) -> None:
    ran = braid("caption", odd, "-m", captioner, "--json")
    assert (ran.code, [json.loads(line)["id"] for line in ran.out.splitlines()]) == (
        0,
        [str(odd / f"{LATIN}.png"), str(odd / "ok.png")],
    )
    assert braid("caption", odd, "-m", captioner).code == 0
    (odd / f"{LATIN}-2.png").write_text("junk")
    ran = braid("caption", odd, "-m", captioner, "--skipped-rows", tmp_path / "skipped.jsonl")
    assert (ran.code, "caf\\udce9-2.png" in ran.err) == (1, True)
    assert read(tmp_path / "skipped.jsonl")["source"] == str(odd / f"{LATIN}-2.png")
    (odd / f"{LATIN}-2.png").unlink()
    saved = tmp_path / "saved.json"
    for data, names in ((odd, [f"{LATIN}.png", "ok.png"]), (odd / "data.jsonl", [f"{LATIN}.png", "ok.png"])):
        page = tmp_path / "page.html"
        arguments = ["--data", data, "--split", "all", "--save-predictions", saved, "--html", page, "--json"]
        ran = braid("evaluate", "--task", "captioning", "-m", captioner, *arguments)
        assert (ran.code, list(read(saved))) == (0, names), ran.err
        page.read_text(encoding="utf-8")
    references = tmp_path / "truth.json"
    references.write_text(json.dumps({name: ["a ball"] for name in read(saved)}))
    ran = braid("score", "captions", "--predictions", saved, "--references", references, "--per-item", tmp_path / "items.json")
    assert (ran.code, list(read(tmp_path / "items.json"))) == (0, names)
    assert braid("data", "check", odd, "--images").code == 0
    assert braid("data", "shard", odd, "-o", tmp_path / "shards").code == 0
    shards = open_dataset(tmp_path / "shards")
    assert [example.id for example in shards.examples] == names
    assert braid("demo", odd, "-m", captioner, "-o", tmp_path / "demo.html").code == 0
    ran = braid("explain", odd / f"{LATIN}.png", "-m", captioner, "-o", tmp_path / "why.html")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_predict_in_another_folder_finds_a_name_again(
    ending: str, braid: Braid, captioner: Path, odd: Path, tmp_path: Path
) -> None:
    output = tmp_path / "far" / f"out.{ending}"
    ran = braid("predict", captioner, odd / "data.jsonl", "--task", "captioning", "-o", output)
    assert ran.code == 0, ran.err
    images = [example.fields["image"] for example in open_dataset(output).examples]
    assert [os.path.realpath(image) for image in images] == [str(odd / f"{LATIN}.png"), str(odd / "ok.png")]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_half_a_character_in_a_column_that_is_not_used(ending: str, braid: Braid, captioner: Path, photos: Path) -> None:
    rows = [{"image": "0.png", "note": "\ud83d", "\udce9": "x"}, {"image": "1.png", "note": "\U0001f600", "\udce9": "y"}]
    (photos / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = braid("predict", captioner, photos / "data.jsonl", "--task", "captioning", "-o", photos / f"out.{ending}")
    assert ran.code == 0, ran.err
    from braid.datasets.table import read_table

    kept = list(read_table(photos / f"out.{ending}").rows)
    text = ending in ("csv", "parquet")
    assert [row["note"] for row in kept if isinstance(row, dict)] == ["\\ud83d" if text else "\ud83d", "\U0001f600"]


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_an_index_of_names(kind: str, braid: Braid, photos: Path, odd: Path, tmp_path: Path) -> None:
    index = tmp_path / LATIN / "photos.index"
    assert braid("index", odd, "-o", index, "--kind", kind).code == 0
    assert braid("index", odd, photos, "-o", index).code == 0
    ran = braid("search", index, "a red ball", "--top", 9, "--json", "--html", tmp_path / "found.html")
    ids = [json.loads(line)["id"] for line in ran.out.splitlines()]
    assert sorted(ids) == sorted([str(odd / f"{LATIN}.png"), str(odd / "ok.png"), *(str(photos / f"{k}.png") for k in range(5))])
    assert (tmp_path / "found.html").read_text(encoding="utf-8").count('src="data:image') == 7


def test_training_on_names(braid: Braid, odd: Path, tmp_path: Path) -> None:
    settings = [part for one in ("epochs=1", "workers=0", "threads=1", "inputs.image.size=32") for part in ("--set", one)]
    for name, data in (("files", odd), ("table", odd / "data.jsonl")):
        arguments = ["--task", "captioning", "--data", data, "-m", "tiny", "--output", tmp_path / LATIN / name, *settings]
        (odd / f"{LATIN}-2.png").write_text("junk")
        (odd / f"{LATIN}-2.txt").write_text("a ball\n")
        ran = braid("train", *arguments)
        assert ran.code == 0, ran.err
        assert braid("caption", odd / "ok.png", "-m", tmp_path / LATIN / name).code == 0
        assert braid("report", tmp_path / LATIN / name).code == 0
        again = braid("train", tmp_path / LATIN / name / "run.yaml", "--output", tmp_path / f"again-{name}")
        assert again.code == 0, again.err


def test_a_model_and_a_table_in_a_folder_of_such_a_name(braid: Braid, captioner: Path, odd: Path, tmp_path: Path) -> None:
    """Libraries that take UTF-8 only read them, too: ONNX Runtime and pyarrow."""
    shutil.copytree(captioner / "best", odd / "model")
    expected = braid("caption", odd / "ok.png", "-m", captioner, "--json").out
    assert braid("caption", odd / "ok.png", "-m", odd / "model", "--json").out == expected
    for _ in range(2):  # the second time onto itself, with the types of its columns
        ran = braid("predict", captioner, odd / "data.jsonl", "--task", "captioning", "-o", odd / "out.parquet")
        assert ran.code == 0, ran.err
    assert len(open_dataset(odd / "out.parquet").examples) == 2
    assert braid("predict", captioner, odd / "out.parquet", "--task", "captioning", "-o", odd / "again.parquet").code == 0


def test_json_for_a_terminal_in_ascii(photos: Path) -> None:
    shutil.copy(photos / "0.png", photos / "é\U0001f600.png")
    for name, ids in (("ascii", "\\u00e9\\ud83d\\ude00.png"), ("utf-8", "é\U0001f600.png")):
        command = [sys.executable, "-m", "braid", "caption", "é\U0001f600.png", "--json"]
        ran = subprocess.run(command, cwd=photos, env={**os.environ, "PYTHONIOENCODING": name}, capture_output=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert ran.stdout.decode().startswith(f'{{"id": "{ids}"')
        assert json.loads(ran.stdout)["id"] == "é\U0001f600.png"


TEXTS: dict[str, Callable[[str], tuple[object, ...]]] = {
    "ask": lambda text: ("ask", "0.png", text),
    "classify": lambda text: ("classify", "--text", text, "--model", "sentiment"),
    "complete": lambda text: ("complete", text),
    "imagine": lambda text: ("imagine", text, "-o", "x.png"),
    "embed": lambda text: ("embed", text, "-o", "e.npy"),
    "search": lambda text: ("search", "photos.index", text),
    "labels": lambda text: ("classify", "0.png", "--labels", f"{text},dog"),
}


@pytest.mark.parametrize("verb", TEXTS)
def test_a_text_that_holds_half_a_character(verb: str, braid: Braid, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert braid("index", ".", "-o", "photos.index").code == 0
    for text in (f"{LATIN}?", "what \ud83d?"):
        ran = braid(*TEXTS[verb](text))
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith("error: the ")
        assert ran.err.endswith(f"{HALF}\n")


@pytest.mark.parametrize("verb", [verb for verb in TEXTS if verb != "labels"])
def test_a_blank_text(verb: str, braid: Braid, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert braid("index", ".", "-o", "photos.index").code == 0
    for text in ("  ", "\t\n", "\u00a0"):
        ran = braid(*TEXTS[verb](text))
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith("error: the ")
        assert " is empty; " in ran.err


def test_labels_that_are_blank_are_told_first(braid: Braid, photos: Path) -> None:
    ran = braid("classify", photos / "0.png", "--labels", " , ,")
    assert (ran.code, ran.err) == (1, "error: there is no label in ' , ,'; write two or more, such as 'dog,cat'\n")


def test_texts_in_python(photos: Path) -> None:
    model = library.load("small")
    for use in (
        lambda text: model.answer(photos / "0.png", text),
        lambda text: model.embed(texts=["a dog", text]),
        lambda text: model.complete(text),
        lambda text: library.load("sentiment").classify(text=text),
    ):
        with pytest.raises(UserError, match="holds half a character"):
            use("what \ud83d?")
        with pytest.raises(UserError, match="is empty; write one"):
            use("  ")


def test_a_question_may_end_in_the_name_of_an_image(braid: Braid, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    ran = braid("ask", "0.png", "what is in 0.png", "--json")
    assert (ran.code, json.loads(ran.out)["question"]) == (0, "what is in 0.png")
    shutil.copy("0.png", "my photo.png")
    assert braid("ask", "my photo.png", "what is it?").code == 0
    assert braid("ask", "my*.png", "what is it?").code == 0
    ran = braid("ask", "your photo.png", "what is it?")
    assert (ran.code, ran.err) == (1, "error: your photo.png does not exist; check the path\n")
    assert braid("ask", "gone.png", "what is it?").err.startswith("skipped: gone.png does not exist")
    ran = braid("embed", "what is in 0.png", "-o", "e.npy")
    assert (ran.code, "'what is in 0.png' is read as a text, because there is no such file" in ran.err) == (0, True)
    assert braid("ask", "0.png", "what " * 200).code == 0


@pytest.mark.parametrize("name", ["~draft", "~root", "~no-such-user"])
def test_a_name_that_begins_with_a_tilde(name: str, braid: Braid, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    shutil.copy("0.png", f"{name}.png")
    assert braid("caption", f"{name}.png").code == 0
    assert braid("ask", f"{name}.png", "what is it?").code == 0
    Path(f"{name}.csv").write_text("image,caption\n0.png,a ball\n")
    assert braid("data", "check", f"{name}.csv").code == 0
    assert braid("caption", f"{name}-gone.png").err.splitlines()[0] == f"skipped: {name}-gone.png does not exist; check the path"
    assert "there is no model '~no-such-user/model'" in braid("caption", "0.png", "--model", "~no-such-user/model").err


def test_a_tilde_alone_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/photos") == tmp_path / "photos"
    assert user_path("~no-such-user/photos") == Path("~no-such-user/photos")


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_the_other_form_of_unicode(table: Form, disk: Form, captioner: Path, tmp_path: Path) -> None:
    """macOS and zips write é as e and an accent; a folder, a file, or both may be so."""
    home = tmp_path / unicodedata.normalize("NFC", "José")
    folder = home / unicodedata.normalize(disk, "Fotos é")
    folder.mkdir(parents=True)
    for name in ("café", "b"):
        Image.new("RGB", (8, 8)).save(folder / unicodedata.normalize(disk, f"{name}.png"))
        (folder / unicodedata.normalize(table, f"{name}.txt")).write_text("a dog\n")
    named, there = unicodedata.normalize(table, "Fotos é/café.png"), str(folder / unicodedata.normalize(disk, "café.png"))
    note = {"image_id": 1, "caption": "a dog"}
    data = {
        "a.csv": f"image,caption\n{named},a dog\n",
        "captions_train.json": json.dumps({"images": [{"id": 1, "file_name": named}], "annotations": [note]}),
        "dataset_x.json": json.dumps({"images": [{"filename": named, "split": "train", "sentences": [{"raw": "a dog"}]}]}),
        "x.token.txt": f"{named}#0\ta dog\n",
    }
    for name, content in data.items():
        (home / name).write_text(content)
        (row,) = open_dataset(home / name).examples
        assert row.fields["image"] == there, name
    rows = open_dataset(unicodedata.normalize(table, str(folder)))
    assert [row.fields["captions"] for row in rows.examples] == [("a dog",)] * 2 and not rows.skipped
    assert len(library.load(captioner).caption([home / named])) == 1


def test_a_name_that_is_there_means_no_other(tmp_path: Path) -> None:
    forms: tuple[Form, ...] = ("NFC", "NFD")
    paths = [tmp_path / unicodedata.normalize(form, "é.png") for form in forms]
    for path in paths:
        path.write_bytes(b"")
    assert [user_path(path) for path in paths] == paths
    gone = str(tmp_path / "ö.png")
    assert file_named(gone) == gone


def test_what_a_terminal_would_obey_is_an_escape(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    evil = "a\x1b[31m\x9b2J\r\b\u202egpj\x07.png"
    (photos / "0.png").rename(photos / evil)
    shutil.copytree(captioner / "best", tmp_path / "model")
    interface = read(tmp_path / "model" / "interface.json")
    interface["card"] |= {"name": f"toy {evil}", "terms": evil}
    (tmp_path / "model" / "interface.json").write_text(json.dumps(interface))
    (photos / f"{evil}.csv").write_text(f'image,caption,"{evil}"\n1.png,a ball,x\ngone.png,a,y\n', newline="")
    for arguments in (
        ("caption", photos, "-m", captioner),
        ("caption", photos, "-m", captioner, "--json"),
        ("caption", photos / evil / "gone.png", "-m", captioner),
        ("caption", photos / evil / "gone.png", "-m", captioner, "--strict"),
        ("inspect", tmp_path / "model"),
        ("inspect", tmp_path / "model", "--json"),
        ("data", "check", photos / f"{evil}.csv"),
        ("data", "check", photos / f"{evil}.csv", "--json"),
        ("classify", photos / evil, "--labels", f"{evil},dog"),
        ("index", photos / evil, "-o", tmp_path / f"{evil}.index"),
        ("search", tmp_path / f"{evil}.index", "a dog"),
        ("embed", photos / evil, "-o", tmp_path / f"{evil}.npy"),
        ("train", photos / evil),
        ("explain", photos / evil, "-m", captioner),
    ):
        ran = braid(*arguments)
        assert not set(ran.out + ran.err) & set("\x1b\x9b\r\b\u202e\x07"), arguments


def test_printable() -> None:
    assert printable("two\nlines\tof é 東京 👍🏽 नमस्ते") == "two\nlines\tof é 東京 👍🏽 नमस्ते"
    assert printable("\x1b[31m \x9b \r \u2066 \ud83d \x7f") == "\\u001b[31m \\u009b \\u000d \\u2066 \\ud83d \\u007f"
