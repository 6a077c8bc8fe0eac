"""``braid data check`` finds what was planted, and nothing in clean data."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from braid.datasets import open_dataset
from braid.datasets.checks import Defect, by_kind, check
from braid.datasets.scenes import Scenes
from conftest import Ran
from heard import tone, wav

Braid = Callable[..., Ran]
LEAK, TEXT_LEAK = "leak: a file in two splits", "leak: a text in two splits"


def scenes(folder: Path, number: int = 120) -> list[dict[str, Any]]:
    """Rows of captioned scenes, drawn in three sizes into PNG and JPEG files of several qualities."""
    rows = []
    (folder / "images").mkdir(parents=True)
    for k in range(number):
        size = (64, 96, 128)[k % 3]
        world = Scenes(size=size)
        scene = world.scene("train", k)
        name = f"images/{k}.{'png' if k % 2 else 'jpg'}"
        Image.fromarray(scene.render(size)).save(folder / name, quality=60 + k % 40)
        split = "test" if k % 10 == 9 else "val" if k % 10 == 8 else "train"
        captions = scene.captions(world.rng("train", k, "captions"), 5)
        rows.append({"id": f"scene {k}", "image": name, "captions": list(captions), "label": scene.label, "split": split})
    return rows


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder / "data.jsonl"


def result(path: Path, images: bool = True) -> dict[str, list[Defect]]:
    return by_kind(check(open_dataset(path), images))


def planted(folder: Path) -> list[dict[str, Any]]:
    """A data set with twelve defects, one a row from 120 on (two are in rows before that, and one is in all of them)."""
    rows = scenes(folder)
    spare = iter(scenes(folder / "more", 140)[120:])

    def add(image: Image.Image | bytes, name: str, split: str) -> dict[str, Any]:
        row = next(spare)
        path = folder / "images" / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path, **({"compress_level": 1} if name.endswith("png") else {"quality": 75}))
        rows.append({**row, "id": name, "image": f"images/{name}", "split": split})
        return rows[-1]

    def scene(k: int) -> Image.Image:
        with Image.open(folder / rows[k]["image"]) as image:
            return image.convert("RGB")

    jpeg = (folder / rows[0]["image"]).read_bytes()
    add(jpeg[: len(jpeg) // 2], "cut.jpg", "train")
    add((folder / rows[2]["image"]).read_bytes(), "same-bytes.jpg", "train")
    add(scene(3), "same-pixels.png", "train")
    add(scene(5).resize((110, 110)), "resized.jpg", "train")
    width, height = scene(7).size
    cropped = scene(7).crop((round(0.04 * width), 2, width - 1, round(0.97 * height)))
    add(ImageEnhance.Brightness(cropped).enhance(1.15), "cropped.jpg", "train")
    add((folder / rows[10]["image"]).read_bytes(), "leak.jpg", "test")
    add(scene(11), "near-leak.jpg", "val")
    rows[19]["captions"] = rows[12]["captions"]
    rows.append({**next(spare), "id": "gone", "image": "images/gone.png"})
    rows.append({**next(spare), "id": "empty", "image": rows[0]["image"], "captions": []})
    rows[13]["captions"] = [*rows[13]["captions"][:4], "a red circle and " * 50]
    return [{**row, "label": "star" if k % 20 == 0 else "circle"} for k, row in enumerate(rows)]


def test_twelve_defects_are_planted_and_found_and_none_is_invented(tmp_path: Path) -> None:
    defects = result(write(tmp_path, planted(tmp_path)))
    assert {kind: [one.sources[0] if one.sources else "" for one in ones] for kind, ones in defects.items()} == {
        "missing value": ["data.jsonl, row 128", "data.jsonl, row 129"],
        "unreadable file": ["data.jsonl, row 121"],
        "duplicate file": ["data.jsonl, row 122", "data.jsonl, row 123"],
        "near-duplicate image": ["data.jsonl, row 124", "data.jsonl, row 125"],
        LEAK: ["data.jsonl, row 126", "data.jsonl, row 127"],
        TEXT_LEAK: ["data.jsonl, row 20"],
        "unusual text length": ["data.jsonl, row 14"],
        "imbalanced labels": [""],
    }
    assert defects["duplicate file"][0].what == "data.jsonl, row 122: same-bytes.jpg is the same as 2.jpg (data.jsonl, row 3)"
    assert (
        defects["near-duplicate image"][1].what
        == "data.jsonl, row 125: cropped.jpg is nearly the same as 7.png (data.jsonl, row 8)"
    )
    assert defects[TEXT_LEAK][0].what == "data.jsonl, row 20 (test) says the same as data.jsonl, row 13 (train)"
    assert "200 words, where" in defects["unusual text length"][0].what


def test_an_interrupted_check_keeps_what_it_found(tmp_path: Path) -> None:
    def watch(items: Sequence[Any], label: str) -> Iterable[Any]:
        if label == "comparing":
            raise KeyboardInterrupt
        return items

    dataset, interrupted = open_dataset(write(tmp_path, planted(tmp_path))), []
    found = by_kind(check(dataset, True, watch, lambda: interrupted.append(True)))
    assert interrupted == [True]
    assert {"unreadable file", "duplicate file", LEAK} <= set(found) and "near-duplicate image" not in found
    with pytest.raises(KeyboardInterrupt):
        check(dataset, True, watch)


def test_ctrl_c_prints_what_was_found_and_writes_no_table(braid: Braid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[Any]:
        raise KeyboardInterrupt

    path = write(tmp_path, planted(tmp_path))
    monkeypatch.setattr("braid.datasets.checks.files.are_copies", interrupted)
    ran = braid("data", "check", path, "--images", "--fix", tmp_path / "clean.csv")
    assert ran.code == 130 and "duplicate file" in ran.out
    assert "clean.csv was not written; run the command again for all" in ran.err
    assert not (tmp_path / "clean.csv").exists()


def test_a_clean_data_set_has_none(tmp_path: Path) -> None:
    assert result(write(tmp_path, scenes(tmp_path))) == {}


def test_fix_writes_a_clean_copy_beside_or_elsewhere(braid: Braid, tmp_path: Path) -> None:
    path = write(tmp_path, planted(tmp_path))
    before = path.read_bytes()
    clean = tmp_path / "elsewhere" / "clean.csv"
    ran = braid("data", "check", path, "--images", "--fix", clean, "--json", "--strict")
    assert ran.code == 1
    (shown,) = map(json.loads, ran.out.splitlines())
    assert (shown["num_defects"], shown["num_rows"], shown["num_kept"]) == (12, 129, 121)
    assert shown["skipped_rows"] == {
        LEAK: 2,
        TEXT_LEAK: 1,
        "unreadable file": 1,
        "duplicate file": 2,
        "missing value": 2,
    }
    assert path.read_bytes() == before
    with open(clean, newline="") as file:
        assert next(csv.DictReader(file))["image"] == "../images/0.jpg"
    assert set(result(clean)) == {"near-duplicate image", "unusual text length", "imbalanced labels"}


def test_fix_never_writes_onto_what_it_reads(braid: Braid, photos: Path) -> None:
    rows = [f"{k}.png,a shape,{'val' if k == 4 else 'train'}" for k in range(5)]
    (photos / "data.csv").write_text("\n".join(["image,caption,split", *rows]) + "\n")
    ran = braid("data", "check", photos / "data.csv", "--fix", photos / ".." / "photos" / "data.csv")
    assert (ran.code, ran.err.endswith("data.csv is the table that is checked; give another file\n")) == (1, True)
    ran = braid("data", "check", photos / "data.csv", "--fix", photos / "out.xls")
    assert ran.err.endswith("a table is written as .csv, .tsv, .jsonl, .json, .parquet; choose one of these endings\n")
    ran = braid("data", "check", "scenes:captioning,train=4,val=2,test=1,compositional=1,size=32", "--fix", photos / "out.csv")
    assert ran.err.endswith("is scenes (procedural); leave --fix out\n")
    assert not (photos / "out.csv").exists()


def changed(rows: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    if what == "ids":
        rows[7]["id"] = rows[3]["id"]
    elif what == "one caption":
        rows = [{**row, "captions": ["a picture of some shapes"]} if k % 3 else row for k, row in enumerate(rows)]
    elif what == "mixed labels":
        rows[4]["label"] = 7
    elif what == "no val":
        rows = [row for row in rows if row["split"] != "val"]
    elif what == "the same file":
        rows[9]["image"] = rows[8]["image"]
    return rows


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("ids", "duplicate id", "'scene 3' is also the id of data.jsonl, row 4"),
        ("one caption", "one caption for all", "20 of 30 rows say 'a picture of some shapes'"),
        ("mixed labels", "labels of mixed type", "1 of 30 are numbers: 7"),
        ("no val", "empty split", "val has no rows"),
        ("the same file", LEAK, "data.jsonl, row 9: 8.jpg is in val and test"),
    ],
)
def test_what_can_be_seen_without_opening_a_file(what: str, kind: str, message: str, tmp_path: Path) -> None:
    defects = result(write(tmp_path, changed(scenes(tmp_path, 30), what)), images=False)
    assert {name: [one.what for one in ones] for name, ones in defects.items()} == {kind: [message]}


def test_a_name_that_no_terminal_can_print_is_escaped(braid: Braid, tmp_path: Path) -> None:
    row = '{"images": [{"id": 1, "file_name": "\\ud800.png"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}'
    (tmp_path / "captions.json").write_text(row)
    for arguments in ([], ["--json"]):
        ran = braid("data", "check", tmp_path / "captions.json", *arguments)
        assert (ran.code, "\\ud800.png" in ran.out) == (0, True)


def test_scenes_that_look_alike_are_no_copies() -> None:
    dataset = open_dataset("scenes:captioning,train=400,val=100,test=1,compositional=1,size=48,objects=1")
    copies = [one for one in check(dataset, files=True) if "image" in one.kind or "file" in one.kind]
    assert copies == []


def test_questions_about_one_picture_are_no_copies(tmp_path: Path) -> None:
    dataset = open_dataset("scenes:vqa,train=60,val=20,test=1,compositional=1,size=32")
    assert check(dataset, files=True) == []
    moved = dataset.examples.assigned("val" if k % 2 else "train" for k in range(len(dataset.examples)))
    assert {one.kind for one in check(replace(dataset, examples=moved))} == {LEAK}


def kinds_of(folder: Path, column: str, values: Sequence[Any]) -> dict[str, list[str]]:
    """The defects of a table of texts with one other column."""
    rows = [{"text": f"a sentence of its own, number {k}", column: value} for k, value in enumerate(values)]
    return {kind: [one.what for one in ones] for kind, ones in result(write(folder, rows), images=False).items()}


def test_labels_that_look_the_same(tmp_path: Path) -> None:
    values = ["Dog", "dog", "dog", " DOG ", "\uff44\uff4f\uff47", "caf\u00e9", "cafe\u0301", "black  cat", "black cat", "bird"]
    assert kinds_of(tmp_path, "label", values) == {
        "labels that look the same": [
            "'dog' (2 rows), 'Dog' (1 row), 'DOG' (1 row), '\uff44\uff4f\uff47' (1 row)",
            "'caf\u00e9' (1 row), 'cafe\u0301' (1 row)",
            "'black  cat' (1 row), 'black cat' (1 row)",
        ]
    }
    assert kinds_of(tmp_path, "label", [1, 1.0, "01", 2, 3]) == {
        "labels that look the same": ["'1' (1 row), '1.0' (1 row), '01' (1 row)"]
    }
    assert kinds_of(tmp_path, "labels", [["Dog", "cat"], ["dog"], []]) == {
        "labels that look the same": ["'Dog' (1 row), 'dog' (1 row)"]
    }
    assert kinds_of(tmp_path, "label", [*map(str, range(30)), "1.0"]) == {}  # quantities


def test_texts_that_say_nothing(tmp_path: Path) -> None:
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
    values = ["nan", "None", "NULL", "N/A", "-", "none", "a dog", "Nan bread"]
    rows = [{"image": f"{number}.png", "caption": value} for number, value in enumerate(values)]
    defects = result(write(tmp_path, rows), images=False)
    assert [one.what for one in defects["text that says nothing"]] == [
        f"data.jsonl, row {number}: {value!r}" for number, value in enumerate(values[:6], 1)
    ]
    assert kinds_of(tmp_path, "label", ["nan", "none", "dog"])["text that says nothing"] == ["data.jsonl, row 1: 'nan'"]


def test_true_and_false_are_labels(tmp_path: Path) -> None:
    rows = [{"text": f"row {k}", "label": value} for k, value in enumerate((True, False, 3, "dog"))]
    dataset = open_dataset(write(tmp_path, rows))
    assert [row.fields["label"] for row in dataset.examples] == ["true", "false", "3", "dog"]
    several = [{"text": "a", "labels": [True, "dog"]}, {"text": "b", "labels": [False]}]
    assert [row.fields["label"] for row in open_dataset(write(tmp_path, several)).examples] == [("true", "dog"), ("false",)]


def test_recordings_that_are_silent_or_too_loud(tmp_path: Path) -> None:
    rows = []
    for name, samples in (
        ("good", tone()),
        ("silent", 0 * tone()),
        ("faint", 1e-6 * tone()),
        ("loud", np.clip(20 * tone(), -1, 1)),
    ):
        (tmp_path / f"{name}.wav").write_bytes(wav(samples))
        rows.append({"audio": f"{name}.wav", "label": "tone"})
    found = result(write(tmp_path, rows))
    assert [one.what.split(": ", 1)[1] for one in found["silent recording"]] == [
        "silent.wav is silent, all of it",
        "faint.wav is silent, all of it",
    ]
    (loud,) = found["clipped recording"]
    assert "loud.wav is cut off at full scale in 9" in loud.what
    assert "silent recording" not in result(tmp_path / "data.jsonl", images=False)
