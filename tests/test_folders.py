"""Folders as others lay them out, and which of their files count."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from braid.datasets import open_dataset, roles_of_data
from braid.datasets.checks import check
from braid.errors import UserError
from braid.files.reading import find_files, identities, listing
from braid.modalities import NOT_READ, ImageModalityConfig
from conftest import Ran

Braid = Callable[..., Ran]
SUFFIXES = ImageModalityConfig.suffixes


def images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (7 * number % 256, 40, number % 256)).save(folder / name)


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("inside", ["", "photos/"])
@pytest.mark.parametrize("splits", [("train", "val"), ("Train", "validation", "TEST"), ("train2017", "val2017"), ()])
def test_a_folder_for_each_label(splits: tuple[str, ...], inside: str, tmp_path: Path) -> None:
    homes = [f"{inside}{split}/" for split in splits] or [inside]
    images(tmp_path, *(f"{home}{label}/{k}.jpg" for home in homes for label in ("cat", "dog") for k in range(6)))
    dataset = open_dataset(tmp_path)
    assert len(dataset.examples) == 12 * len(homes)
    assert all(Path(row.fields["image"]).parent.name == row.fields["label"] for row in dataset.examples)
    known = {"train": "train", "val": "val", "validation": "val", "test": "test"}
    names = {known[split.lower().removesuffix("2017")] for split in splits} or {"train", "val"}
    assert dataset.splits.keys() == names
    assert dataset.notes == ("labels are the names of 2 folders: cat, dog",)
    assert roles_of_data(tmp_path) == ["image", "label"]
    assert check(dataset) == []


def test_one_folder_is_no_label(tmp_path: Path) -> None:
    images(tmp_path, *(f"photos/{k}.jpg" for k in range(6)))
    assert {tuple(row.fields) for row in open_dataset(tmp_path).examples} == {("image",)}


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
@pytest.mark.parametrize("place", ["root", "split"])
def test_hugging_face_s_metadata(place: str, ending: str, tmp_path: Path) -> None:
    names = [f"{split}/{k}.jpg" for split in ("train", "validation") for k in range(3)]
    images(tmp_path, *names)
    for home in [tmp_path] if place == "root" else [tmp_path / "train", tmp_path / "validation"]:
        rows = [
            (os.path.relpath(tmp_path / name, home), f"the {name}") for name in names if (tmp_path / name).is_relative_to(home)
        ]
        if ending == "csv":
            (home / "metadata.csv").write_text("file_name,text\n" + "".join(f"{name},{text}\n" for name, text in rows))
        else:
            lines(home / "metadata.jsonl", [{"file_name": name, "text": text} for name, text in rows])
    dataset = open_dataset(tmp_path)
    assert dataset.splits == {"train": 3, "val": 3} and not dataset.skipped
    assert {os.path.relpath(row.fields["image"], tmp_path): row.fields["captions"] for row in dataset.examples} == {
        name: (f"the {name}",) for name in names
    }
    assert len({row.id for row in dataset.examples}) == len({row.source for row in dataset.examples}) == 6
    assert roles_of_data(tmp_path) == ["image", "captions"]


def parquet(path: Path, start: int, number: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"text {k}" for k in range(start, start + number)]
    pq.write_table(pa.table({"text": texts, "label": [bool(k % 2) for k in range(number)]}), path)


@pytest.mark.parametrize("home", ["", "data"])
def test_a_table_in_several_parquet_files(home: str, tmp_path: Path) -> None:
    for number, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")):
        parquet(tmp_path / home / f"{name}.parquet", 4 * number)
    dataset = open_dataset(tmp_path)
    assert dataset.splits == {"train": 8, "val": 4}
    assert [row.fields["text"] for row in dataset.examples] == [f"text {k}" for k in range(12)]
    assert {row.fields["label"] for row in dataset.examples} == {"true", "false"}
    assert len({row.id for row in dataset.examples}) == 12
    source = os.path.join(home, "train-00001-of-00002.parquet")
    assert dataset.examples[4].source == f"{source}, row 1"
    assert check(dataset) == []
    (tmp_path / home / "train-00001-of-00002.parquet").unlink()
    said = f"1 of 2 files of train are in {tmp_path / home}; copy the others beside them"
    assert open_dataset(tmp_path).notes == (said,)


def test_numbered_files_without_a_split_are_one_table(tmp_path: Path) -> None:
    for number in range(3):
        parquet(tmp_path / f"rows-0000{number}-of-00003.parquet", 4 * number)
    dataset = open_dataset(tmp_path)
    assert len(dataset.examples) == 12 and dataset.splits.keys() == {"train", "val"}


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{name} a,x\n{name} b,y\n")
    (tmp_path / "classes.csv").write_text("id,name\n1,x\n")
    dataset = open_dataset(tmp_path)
    assert dataset.splits == {"train": 2, "val": 2, "test": 2}
    assert all(row.fields["text"].startswith(row.split) for row in dataset.examples)
    assert dataset.notes == ("tables that are not read: classes.csv",)
    (tmp_path / "train.jsonl").write_text('{"text": "a", "label": "x"}\n')
    with pytest.raises(
        UserError, match=r"holds 5 tables; give one of them: .*; or keep one for each split \(train.csv, val.csv\)"
    ):
        open_dataset(tmp_path)


def test_a_folder_of_tables_or_images_is_predicted(braid: Braid, tmp_path: Path) -> None:
    images(tmp_path, *(f"photos/{label}/{k}.jpg" for label in ("cat", "dog") for k in range(4)))
    sizes = [f"--set={name}={value}" for name, value in (("epochs", 1), ("workers", 0), ("inputs.image.size", 32))]
    data, run = tmp_path / "photos", tmp_path / "run"
    ran = braid("train", "--task", "classification", "--data", data, "--model", "tiny", *sizes, "--output", run)
    assert ran.code == 0, ran.err
    assert f"{data}: labels are the names of 2 folders: cat, dog" in ran.err
    ran = braid("evaluate", "--task", "classification", "--data", data, "-m", run, "--split", "all", "--json")
    assert json.loads(ran.out)["num_samples"] == 8
    for split in ("train", "val"):
        rows = [{"file_name": f"../photos/cat/{k}.jpg", "label": "cat", "note": split} for k in range(2)]
        lines(tmp_path / "tables" / f"{split}.jsonl", rows)
    assert braid("predict", run, data, "-o", tmp_path / "photos.jsonl").code == 0
    assert braid("predict", run, tmp_path / "tables", "-o", tmp_path / "tables.jsonl").code == 0
    ours, theirs = ([json.loads(line) for line in (tmp_path / f"{name}.jsonl").open()] for name in ("photos", "tables"))
    assert sorted(row["image"] for row in ours) == sorted(str(file) for file in data.rglob("*.jpg"))
    assert all(row["prediction"] in ("cat", "dog") for row in (*ours, *theirs))
    assert [(row["note"], row["split"]) for row in theirs] == [(split, split) for split in ("train", "train", "val", "val")]
    (tmp_path / "empty").mkdir()
    ran = braid("predict", run, tmp_path / "empty", "-o", tmp_path / "out.csv")
    assert (
        ran.err
        == f"error: {tmp_path / 'empty'} holds no table and no files that Braid reads; give a table, or a folder of images\n"
    )


def odd(folder: Path) -> Path:
    """A folder with what systems, phones and attackers leave in it."""
    images(folder, "a.jpg", "b.jfif.png", ".hidden.jpg", "sub/c.png", "two\nlines.jpg", "brackets [1].jpg")
    for name in ("._a.jpg", "__MACOSX/._a.jpg", "Thumbs.db", "d.heic", "e.HEIC", "f.svg", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\26\7")
    for name in ("pipe.jpg", "a.token.txt", "dataset_x.json", "captions_x.json", "x_questions.json", "pipe.csv"):
        os.mkfifo(folder / name)
    for name, target in (("loop", "."), ("sub/loop", ".."), ("itself.jpg", "itself.jpg"), ("to-pipe.jpg", "pipe.jpg")):
        os.symlink(target, folder / name)
    return folder


def test_what_counts_as_a_file_of_a_folder(tmp_path: Path) -> None:
    folder, said = odd(tmp_path / "odd"), list[str]()
    names = ["a.jpg", "b.jfif.png", "brackets [1].jpg", "itself.jpg", "sub/c.png", "to-pipe.jpg", "two\nlines.jpg"]
    assert find_files([folder], SUFFIXES, unread=NOT_READ, on_note=said.append) == [str(folder / name) for name in names]
    assert said[:2] == ["2 files passed over: .heic; save them as JPEG", "1 file passed over: .svg; save them as PNG"]
    assert listing(folder).hidden == 4
    assert {one.removeprefix(f"{folder}/").partition(" is ")[0] for one in listing(folder).others} == {
        *("pipe.jpg", "a.token.txt", "dataset_x.json", "captions_x.json", "x_questions.json", "pipe.csv", "loop", "sub/loop")
    }
    dataset = open_dataset(folder)
    assert sorted(row.id for row in dataset.examples) == names
    assert dataset.notes[:2] == tuple(said[:2]) and dataset.hidden == 4
    unreadable = [one.what for one in check(dataset, files=True) if one.kind == "unreadable file"]
    assert len(unreadable) == 2  # the link to itself, and the one to a pipe


def test_a_folder_of_unread_images_alone_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no image there; looked for .*; 1 file passed over: .heic; save them as JPEG"):
        find_files([tmp_path], SUFFIXES, "image", NOT_READ)


def test_check_and_caption_say_what_is_passed_over(braid: Braid, tmp_path: Path) -> None:
    folder = odd(tmp_path / "odd")
    ran = braid("data", "check", folder, "--json")
    shown = json.loads(ran.out)
    assert (shown["num_hidden"], shown["notes"][0]) == (4, "2 files passed over: .heic; save them as JPEG")
    assert "4 hidden files or folders are passed over" in braid("data", "check", folder).err


def test_patterns_in_folders_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.jpg", "sub/b.jpg", "sub/deep/c.png", ".hidden/d.jpg"]
    images(tmp_path / "photos [1]", *names)
    home = tmp_path / "photos [1]"
    os.symlink(home, home / "sub" / "loop")
    (home / "sub" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    for start in (str(home), "photos [1]", "./photos [1]"):
        shown = str(Path(start))
        assert find_files([f"{start}/*.jpg"], SUFFIXES) == [f"{shown}/a.jpg"]
        assert find_files([f"{start}/*/b.jpg"], SUFFIXES) == [f"{shown}/sub/b.jpg"]
        assert find_files([f"{start}/sub/*"], SUFFIXES) == [f"{shown}/sub/b.jpg"]
        assert find_files([f"{start}/**/*.jpg"], SUFFIXES) == [f"{shown}/a.jpg", f"{shown}/sub/b.jpg"]
        assert find_files([f"{start}/**"], SUFFIXES) == [f"{shown}/{name}" for name in names[:3]]
    monkeypatch.chdir(home)
    assert find_files(["*.jpg", "**/*.jpg", str(home / "a.jpg"), "./a.jpg"], SUFFIXES) == ["a.jpg", "sub/b.jpg"]


def test_one_identity_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "photos/a.jpg")
    os.symlink("photos", tmp_path / "link")
    os.symlink("photos/a.jpg", tmp_path / "b.jpg")
    monkeypatch.chdir(tmp_path)
    spellings = ["photos/a.jpg", "./photos/a.jpg", "photos//a.jpg", f"{tmp_path}/photos/../photos/a.jpg", "link/a.jpg", "b.jpg"]
    assert {*identities(spellings)} == {os.path.realpath(tmp_path / "photos/a.jpg")}


def test_a_folder_named_like_a_table_is_a_folder(tmp_path: Path) -> None:
    images(tmp_path, *(f"a.csv/{k}.jpg" for k in range(3)), "b.jpg/c.jpg")
    assert len(open_dataset(tmp_path / "a.csv").examples) == 3
    assert find_files([tmp_path], SUFFIXES) == [
        *(str(tmp_path / f"a.csv/{k}.jpg") for k in range(3)),
        str(tmp_path / "b.jpg/c.jpg"),
    ]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs tests as root can read every folder, but not one whose path is too long."""
    images(tmp_path, "a.jpg")
    monkeypatch.chdir(tmp_path)
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    monkeypatch.chdir(tmp_path)
    (message,) = (note for note in open_dataset(tmp_path).notes)
    assert message.startswith(f"{tmp_path}/ddd") and message.endswith(" (File name too long), so it is passed over; change that")
    shutil.rmtree(tmp_path / ("d" * 250))


def test_a_folder_of_many_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(20_000):
        (tmp_path / "a" / f"{number}.jpg").touch()
    dataset = open_dataset(tmp_path)
    assert len(dataset.examples) == 20_000 and 1_500 < dataset.splits["val"] < 2_500
