"""Labels that are missing, new, or no labels, and rows that lack an input."""

import json
from pathlib import Path
from typing import Any

from bad.case import SETTINGS, case, command, table
from bad.data import opened
from braid.training import run_from, train

ROWS = "".join(f"photo.png,a {label},{label},{split}\n" for split in ("train", "val") for label in ("dog", "cat"))
POSTS = "image,text,label,split\n" + ROWS


def trained(home: Path, content: str, name: str = "posts.csv", **settings: Any) -> Path:
    """A classifier of photos with texts."""
    path = table(home, content, name)
    given = {**SETTINGS, "task": "classification", "data": {"path": str(path)}, **settings}
    train(run_from(given, ["evaluation.batch_size=4"]), home / "run")
    return home / "run"


@case("label", "a row without a label")
def _(home: Path) -> Any:
    return opened(table(home, POSTS + "photo.png,a bird,,train\n"))


@case("label", "no row with a label, in training")
def _(home: Path) -> Any:
    return trained(home, "image,text,label,split\nphoto.png,a dog,,train\nphoto.png,a cat,,val\n")


@case("label", "a split without labels, in training")
def _(home: Path) -> Any:
    return trained(home, "image,text,label,split\nphoto.png,a dog,,train\nphoto.png,a cat,cat,val\n")


@case("label", "no column of labels, in training")
def _(home: Path) -> Any:
    return trained(home, "image,post,split\nphoto.png,a dog,train\nphoto.png,a cat,val\n")


@case("label", "one label for all rows, in training")
def _(home: Path) -> Any:
    return trained(home, POSTS.replace("cat", "dog"))


@case("label", "rows without a label, to be labelled by `braid predict`")
def _(home: Path) -> Any:
    run = trained(home, POSTS)
    return command("predict", run, table(home, "image,text,label\nphoto.png,a dog,\n"), "-o", home / "out.csv")


@case("label", "labels that only the test split has")
def _(home: Path) -> Any:
    run = trained(home, POSTS)
    path = table(home, POSTS + "photo.png,a bird,bird,test\nphoto.png,a dog,dog,test\n")
    return command("evaluate", "--task", "classification", "--data", path, "--split", "test", "-m", run)


@case("label", "an image without a text, for a model that was trained on both")
def _(home: Path) -> Any:
    return command("classify", home / "photo.png", "-m", trained(home, POSTS))


@case("label", "a text without an image, for a model that was trained on both")
def _(home: Path) -> Any:
    return command("classify", "--text", "a dog", "-m", trained(home, POSTS))


@case("label", "a damaged image alone, beside labels of your own")
def _(home: Path) -> Any:
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    return command("classify", home / "cut.png", "--labels", "dog,cat")


@case("label", "rows with an image alone, a text alone, and neither")
def _(home: Path) -> Any:
    return opened(table(home, "image,text,label\nphoto.png,,dog\n,a cat,cat\n,,cow\n"))


@case("label", "fractions for labels, in training")
def _(home: Path) -> Any:
    return trained(home, "text,label,split\n" + "".join(f"row {k},{k / 8},train\nrow {k},{k / 8},val\n" for k in range(30)))


@case("label", "words for numbers, in regression")
def _(home: Path) -> Any:
    return trained(home, POSTS, task="regression")


@case("label", "a row of several labels whose model gives one")
def _(home: Path) -> Any:
    run = trained(home, POSTS)
    rows = [{"image": "photo.png", "text": "a dog", "labels": labels} for labels in (["dog", "cat"], ["dog"])]
    path = table(home, "".join(json.dumps(row) + "\n" for row in rows), "several.jsonl")
    return command("evaluate", "--task", "classification", "--data", path, "--split", "all", "-m", run)


@case("label", "a label that is an object")
def _(home: Path) -> Any:
    rows = [{"image": "photo.png", "text": "x", "labels": label} for label in ({"name": "dog"}, ["dog", {"name": "cat"}], [])]
    return opened(table(home, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl"))


@case("label", "a column of one label and another of several, both named")
def _(home: Path) -> Any:
    return opened(table(home, "text,one,all\na dog,dog,dog|cat\n"), "label=one,labels=all")
