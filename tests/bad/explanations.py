"""Explanations that cannot be made or saved."""

from pathlib import Path
from typing import Any

from bad.case import case, command


@case("explanation", "neither an image nor a text")
def _(home: Path) -> Any:
    return command("explain", "-m", home / "model")


@case("explanation", "an image that is a text file")
def _(home: Path) -> Any:
    (home / "notes.jpg").write_text("not an image")
    return command("explain", home / "notes.jpg", "-m", home / "model")


@case("explanation", "a method with a typo")
def _(home: Path) -> Any:
    return command("explain", home / "photo.png", "-m", home / "model", "--method", "oclusion")


@case("explanation", "a question to a model that only describes")
def _(home: Path) -> Any:
    return command("explain", home / "photo.png", "-m", home / "model", "--question", "how many dogs?")


@case("explanation", "saved as a text file")
def _(home: Path) -> Any:
    return command("explain", home / "photo.png", "-m", home / "model", "-o", home / "why.txt")


@case("explanation", "saved where a folder stands")
def _(home: Path) -> Any:
    (home / "why.html").mkdir()
    return command("explain", home / "photo.png", "-m", home / "model", "-o", home / "why.html")


@case("explanation", "saved below a file")
def _(home: Path) -> Any:
    return command("explain", home / "photo.png", "-m", home / "model", "-o", home / "photo.png" / "why.html")


@case("explanation", "methods graded, one of them unknown")
def _(home: Path) -> Any:
    return command("grade-explanations", home / "model", "--data", "scenes", "--methods", "gradients,gradcam")


@case("explanation", "methods graded on a split without rows")
def _(home: Path) -> Any:
    data = "scenes:captioning,train=1,val=0,test=1,compositional=1"
    return command("grade-explanations", home / "model", "--data", data)


@case("explanation", "methods graded for a task that the model was not trained for")
def _(home: Path) -> Any:
    return command("grade-explanations", home / "model", "--data", "scenes:vqa,train=1,val=2,test=1,compositional=1")
