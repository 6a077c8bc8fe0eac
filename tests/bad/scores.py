"""Predictions and references that do not fit."""

from pathlib import Path
from typing import Any

from bad.case import CASES, Case, case, command, table


def scored(home: Path, predictions: str, references: str, *more: object) -> str:
    table(home, predictions, "mine.json")
    table(home, references, "truth.json")
    return command("score", "captions", "--predictions", home / "mine.json", "--references", home / "truth.json", *more)


def score(what: str, predictions: str, references: str, *more: object) -> None:
    CASES.append(Case("score", what, lambda home: scored(home, predictions, references, *more)))


score("an id without references", '{"1": "a dog"}', '{"2": ["a dog"]}')
score("an id without a prediction", '{"1": "a dog"}', '{"1": ["a dog"], "2": ["a cat"]}')
score("no predictions", "{}", '{"1": ["a dog"]}')
score("predictions that are a list of texts", '["a dog"]', '{"1": ["a dog"]}')
score("COCO results with an image twice", '[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]', '{"1": ["a"]}')
score("COCO results without a caption", '[{"image_id": 1}]', '{"1": ["a dog"]}')
score("a prediction that is a list", '{"1": ["a dog"]}', '{"1": ["a dog"]}')
score("a prediction that is NaN", '{"1": NaN}', '{"1": ["a dog"]}')
score("an id twice", '{"1": "a dog", "1": "a cat"}', '{"1": ["a dog"]}')
score("references that are numbers", '{"1": "a dog"}', '{"1": [3]}')
score("no reference for an id", '{"1": "a dog"}', '{"1": []}')
score("references that are a list", '{"1": "a dog"}', '[["a dog"]]')
score("a single image, on which CIDEr is 0", '{"1": "a dog"}', '{"1": ["a dog"]}')
score(
    "Chinese, with the tokenizer of English", '{"1": "狗", "2": "猫"}', '{"1": ["一只狗"], "2": ["一只猫"]}', "--tokenizer", "ptb"
)
score("an empty prediction", '{"1": "", "2": "a cat"}', '{"1": ["a dog"], "2": ["a cat"]}')
score("references cut short", '{"1": "a dog"}', '{"1": ["a do')
score("references nested 100,000 deep", '{"1": "a dog"}', "[" * 100_000)
score("an unknown tokenizer", '{"1": "a dog"}', '{"1": ["a dog"]}', "--tokenizer", "ptp")


@case("score", "a folder for a file")
def _(home: Path) -> Any:
    return command("score", "captions", "--predictions", home / "model", "--references", home / "model")


@case("score", "a file that is missing")
def _(home: Path) -> Any:
    return command("score", "captions", "--predictions", home / "gone.json", "--references", home / "gone.json")


@case("score", "a file in Latin-1")
def _(home: Path) -> Any:
    (home / "mine.json").write_bytes('{"1": "café"}'.encode("latin-1"))
    return command("score", "captions", "--predictions", home / "mine.json", "--references", home / "mine.json")


def unreadable(home: Path, verb: str, *words: str) -> str:
    """A verb on a table whose only image is damaged."""
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    return command(verb, *words, "--task", "captioning", "--data", table(home, "image,caption\ncut.png,a dog\n", "cut.csv"))


@case("score", "no row that can be read, for `braid audit`")
def _(home: Path) -> Any:
    return unreadable(home, "audit", "small")


@case("score", "no row that can be read, for `braid evaluate`")
def _(home: Path) -> Any:
    return unreadable(home, "evaluate")
