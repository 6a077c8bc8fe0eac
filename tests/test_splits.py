"""Splits are what names, folders and columns say; what is guessed is told, and tells images apart."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from braid.datasets import Dataset, open_dataset
from braid.datasets.checks import by_kind, check
from braid.datasets.splits import split_named
from braid.errors import UserError
from conftest import Ran

Braid = Callable[..., Ran]


def images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (7 * number % 256, 40, number % 256)).save(folder / name)


def table(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return path


def split_of_each(dataset: Dataset) -> dict[str, str]:
    return {row.fields["image"]: row.split for row in dataset.examples}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_val2017", "val"),
        ("Flickr_8k.trainImages", "train"),
        ("Flickr_8k.devImages", "val"),
        ("TRAIN", "train"),
        ("train-00000-of-00002", "train"),
        ("v2_OpenEnded_mscoco_val2014_questions", "val"),
        ("image_info_test-dev2015", "test"),
        ("my validation set", "val"),
        ("eval", "val"),
        ("captions_retrieval", ""),
        ("captions_latest", ""),
        ("constraints", ""),
        ("valencia", ""),
        ("Trainer", ""),
        ("contest_evaluations", ""),
        ("valid\u00e9", ""),
        ("train_and_val", ""),
        ("", ""),
    ],
)
def test_only_a_whole_word_in_a_file_name_is_a_split(name: str, split: str) -> None:
    assert split_named(name) == split


@pytest.mark.parametrize("word", ["retrieval", "latest", "constraints", "valencia"])
def test_no_reader_takes_a_part_of_a_word_for_a_split(word: str, tmp_path: Path) -> None:
    names = [f"{k:012d}.jpg" for k in range(20)]
    for kind in ("coco", "vqa", "flickr", word):
        images(tmp_path / kind, *names)
    listed = [{"id": k, "file_name": name} for k, name in enumerate(names)]
    notes = [{"image_id": k, "caption": "a ball"} for k in range(20)]
    table(tmp_path / "coco" / f"captions_{word}.json", json.dumps({"images": listed, "annotations": notes}))
    asked = [{"question_id": k, "image_id": k, "question": "what?"} for k in range(20)]
    table(tmp_path / "vqa" / f"{word}_questions.json", json.dumps({"questions": asked}))
    table(tmp_path / "flickr" / "a.token.txt", *(f"{name}#0\ta ball" for name in names))
    table(tmp_path / "flickr" / f"{word}_reviewed.txt", *names[:2])
    table(tmp_path / word / "rows.csv", "image,caption", *(f"{name},a ball" for name in names))
    for kind in ("coco", "vqa", "flickr", word):
        dataset = open_dataset(tmp_path / kind)
        assert dataset.splits.keys() == {"train", "val"}
        assert dataset.guess == f"no row names a split: {dataset.splits['val']} of 20 rows are val, chosen by image name"


def test_images_of_one_name_in_many_folders_are_told_apart(tmp_path: Path) -> None:
    names = [f"p/{k:03d}/{side}.jpg" for k in range(200) for side in ("front", "back")]
    images(tmp_path, *names)
    every = open_dataset(table(tmp_path / "every.csv", "image,caption", *(f"{name},a ball" for name in names)))
    assert 20 <= every.splits["val"] <= 60
    one = open_dataset(table(tmp_path / "one.csv", "image,caption", *(f"{name},a ball" for name in names[::2])))
    assert 8 <= one.splits["val"] <= 35
    splits = split_of_each(every)
    assert all(splits[name] == split for name, split in split_of_each(one).items())
    folder = open_dataset(tmp_path / "p")
    assert 20 <= folder.splits["val"] <= 60


def test_an_image_stays_in_one_split_however_its_path_is_spelled(tmp_path: Path) -> None:
    names = [f"{kind}/{k}.jpg" for kind in ("cat", "dog") for k in range(40)]
    images(tmp_path, *names)
    spellings = [f"{start}{name}" for name in names for start in ("", "./", "cat/../", f"{tmp_path}/")]
    dataset = open_dataset(table(tmp_path / "data.csv", "image,caption", *(f"{name},a ball" for name in spellings)))
    splits: dict[str, set[str]] = {}
    for row in dataset.examples:
        splits.setdefault(os.path.realpath(row.fields["image"]), set()).add(row.split)
    assert len(splits) == 80 and all(len(found) == 1 for found in splits.values())


def test_the_splits_of_a_flat_folder_are_those_of_earlier_versions(tmp_path: Path) -> None:
    images(tmp_path, *(f"images/{k}.png" for k in range(40)))
    rows = [f"images/{k}.png,a ball" for k in range(40)]
    dataset = open_dataset(table(tmp_path / "data.csv", "image,caption", *rows))
    val = sorted(int(Path(name).stem) for name, split in split_of_each(dataset).items() if split == "val")
    assert val == FLAT
    assert split_of_each(open_dataset(tmp_path / "images")) == split_of_each(dataset)


FLAT = [11, 25]  # of 40 images


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_a_few_rows_are_never_all_val_or_all_train(rows: int, tmp_path: Path) -> None:
    for start in range(300):
        dataset = open_dataset(table(tmp_path / "data.csv", "text", *(f"text {start} {k}" for k in range(rows))))
        assert dataset.splits.keys() == {"train", "val"}


def test_rows_of_which_none_can_be_val_are_told(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    one = open_dataset(table(tmp_path / "one.csv", "image,caption", "a.jpg,a ball"))
    asked = [f"a.jpg,what {k}?,yes" for k in range(9)]
    same = open_dataset(table(tmp_path / "same.csv", "image,question,answer", *asked))
    with pytest.raises(UserError) as caught:
        one.split("val")
    assert str(caught.value) == (
        f"{tmp_path / 'one.csv'} has no rows in split 'val'; it has train (1); all takes every row; no row names a split, and "
        "none can be val, because there is only one row; give more rows, or name the split of each"
    )
    assert same.splits == {"train": 9}
    assert "because all 9 rows have the same image name" in same.guess


def test_a_column_is_the_split_only_if_its_values_are(tmp_path: Path) -> None:
    rows = [f"text {k},{k % 3}" for k in range(30)]
    for name in ("fold", "set", "split", "subset"):
        dataset = open_dataset(table(tmp_path / "data.csv", f"text,{name}", *rows))
        assert dataset.splits.keys() == {"train", "val"}
        assert dataset.unused == (name,) and "split" not in dataset.columns
        assert dataset.notes == (
            f"column {name!r} is not taken for the split, because its values (0, 1, 2) are not train, val or test; to use it: "
            f"--columns split={name} --set data.train=0 --set data.val=1",
        )
        mapped = open_dataset(tmp_path / "data.csv", {"split": name})
        assert (mapped.splits, mapped.said) == ({"0": 10, "1": 10, "2": 10}, ())
    words = [f"text {k},{('Train', 'VALIDATION', ' testing ')[k % 3]}" for k in range(30)]
    dataset = open_dataset(table(tmp_path / "data.csv", "text,set", *words))
    assert (dataset.splits, dataset.said) == ({"train": 10, "val": 10, "test": 10}, ())


def test_a_fold_is_no_split_for_fix_either(braid: Braid, tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "c.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    path = table(tmp_path / "data.csv", "image,caption,fold", "a.jpg,a ball,0", "b.jpg,a box,1", "c.jpg,a cup,0")
    ran = braid("data", "check", path, "--images", "--fix", tmp_path / "clean.csv", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["num_kept"] == 2


def test_rows_that_name_no_split_while_others_do_are_told(braid: Braid, tmp_path: Path) -> None:
    images(tmp_path, *(f"{k}.png" for k in range(6)))
    splits = ["train", "train", "val", "", "", ""]
    rows = [f"{k}.png,a ball {k},{split}" for k, split in enumerate(splits)]
    path = table(tmp_path / "data.csv", "image,caption,split", *rows)
    dataset = open_dataset(path)
    (defect,) = by_kind(check(dataset))["rows without a split"]
    assert defect.what == "3 of 6 rows name no split, so that none uses them: " + ", ".join(
        f"data.csv, row {row}" for row in (4, 5, 6)
    )
    said = "3 of 6 rows name no split and are used by none; name their split, or remove them"
    assert dataset.said == (said,)
    sizes = [f"--set={name}={value}" for name, value in (("epochs", 1), ("workers", 0), ("inputs.image.size", 32))]
    ran = braid("train", "--task", "captioning", "--data", path, "--model", "tiny", *sizes, "--output", tmp_path / "run")
    assert ran.code == 0 and f"{path}: {said}" in ran.err


def test_folders_that_are_splits_give_a_table_its_splits(tmp_path: Path) -> None:
    names = [f"{split}/{k}.png" for split in ("train", "Validation", "test2017") for k in range(4)]
    images(tmp_path, *names)
    dataset = open_dataset(table(tmp_path / "data.csv", "image,caption", *(f"{name},a ball" for name in names)))
    assert dataset.splits == {"train": 4, "val": 4, "test": 4}
    assert dataset.notes == ("no row names a split: train, val, test are those of the folders",)
    assert not dataset.guess


def test_a_model_that_did_not_see_the_data_is_scored_on_all_rows(braid: Braid, tmp_path: Path) -> None:
    rows = [f"{word} {k},{word}" for k in range(30) for word in ("good", "bad")]
    seen, other = (table(tmp_path / name, "text,label", *rows) for name in ("seen.csv", "other.csv"))
    sizes = [f"--set={name}={value}" for name, value in (("epochs", 1), ("workers", 0))]
    ran = braid("train", "--task", "classification", "--data", seen, "--model", "tiny", *sizes, "--output", tmp_path / "run")
    assert ran.code == 0, ran.err
    num_val = open_dataset(seen).splits["val"]
    for path, rows_scored, split, why in ((other, 60, "all", "not trained"), (seen, num_val, "val", "trained")):
        ran = braid("evaluate", "--task", "classification", "--data", path, "-m", tmp_path / "run")
        assert ran.code == 0, ran.err
        assert (
            f"{path}: {rows_scored} of 60 rows, split {split}: no row names a split, and the model was {why} on data" in ran.err
        )
        assert f"split {split}: {rows_scored} of 60 rows" in ran.out.replace("\n", " ")
    ran = braid("evaluate", "--task", "classification", "--data", other, "-m", tmp_path / "run", "--split", "val", "--json")
    assert json.loads(ran.out)["num_samples"] == open_dataset(other).splits["val"]
    assert f"{open_dataset(other).splits['val']} of 60 rows" in ran.err
