"""Questions, labels and other texts of a command that are blank or no text, and names that begin with a tilde."""

from pathlib import Path
from typing import Any

import braid
from bad.case import case, command, table
from bad.data import opened

HALF = "what \ud83d?"  # half an emoji


@case("text", "a question that holds half an emoji")
def _(home: Path) -> Any:
    return command("ask", home / "photo.png", HALF)


@case("text", "a text to label that holds half an emoji")
def _(home: Path) -> Any:
    return command("classify", "--text", HALF, "--model", "sentiment")


@case("text", "a label that holds half an emoji")
def _(home: Path) -> Any:
    return command("classify", home / "photo.png", "--labels", f"{HALF},dog")


@case("text", "a text that holds half an emoji, in Python")
def _(home: Path) -> Any:
    return braid.load("small").embed(texts=["a dog", HALF])


@case("text", "a caption that holds half an emoji")
def _(home: Path) -> Any:
    return opened(
        table(home, '{"image": "photo.png", "caption": "\\ud83d"}\n{"image": "photo.jpg", "caption": "a"}\n', "a.jsonl")
    )


@case("text", "a question that is blank")
def _(home: Path) -> Any:
    return command("ask", home / "photo.png", "  ")


@case("text", "a text to label that is blank")
def _(home: Path) -> Any:
    return command("classify", "--text", "  ", "--model", "sentiment")


@case("text", "a text to search for that is blank")
def _(home: Path) -> Any:
    return command("search", home / "photos.index", " ")


@case("text", "labels that are commas")
def _(home: Path) -> Any:
    return command("classify", home / "photo.png", "--labels", " , ,")


@case("text", "an image that does not exist before a question")
def _(home: Path) -> Any:
    return command("ask", home / "my photo.png", "what is it?")


@case("text", "an image whose name begins with a tilde and that does not exist")
def _(home: Path) -> Any:
    return command("caption", "~draft.png", "--strict")


@case("text", "a model of a user who does not exist")
def _(home: Path) -> Any:
    return braid.load("~no-such-user/model")


@case("text", "an image as a data URI in place of a text to search for")
def _(home: Path) -> Any:
    return command("search", home / "photos.index", "data:image/png;base64,aGk=")


@case("text", "an image as a data URI in place of a text to embed")
def _(home: Path) -> Any:
    return command("embed", "data:image/png;base64,aGk=", "-o", home / "vectors.npy")


@case("text", "a text to label that is longer than the model reads")
def _(home: Path) -> Any:
    return command("classify", "--text", "a good day " * 100, "--model", "sentiment")
