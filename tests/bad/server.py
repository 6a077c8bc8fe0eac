"""What clients send a server, and what keeps one from starting."""

import base64
from pathlib import Path
from typing import Any

from braid.server.bodies import validated
from braid.server.errors import ApiError
from braid.server.fetching import fetch
from braid.server.images import Pictures

from bad.case import case, command
from braid.bundle import read_bundle
from braid.errors import UserError
from braid.server.schemas import AnswerRequest, CaptionRequest, ImagineRequest


def received(home: Path, given: str, pixels: int = 32_000_000) -> Any:
    """What a server makes of a picture for the model in ``home``."""
    images = Pictures(pixels, lambda url: fetch(url, frozenset({"pictures.example"}), 10**6))
    return images.prepared(images.encoded(given), read_bundle(home / "model").inputs)


def asked(schema: Any, **fields: Any) -> Any:
    try:
        return validated(schema, fields)
    except ApiError as error:
        raise UserError(str(error)) from None


def uri(file: Path, most: int | None = None) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()[:most]).decode("ascii")


@case("server", "a picture that is not base64")
def _(home: Path) -> Any:
    return received(home, "photo.png")


@case("server", "a data URI that is not base64")
def _(home: Path) -> Any:
    return received(home, "data:image/svg+xml,<svg/>")


@case("server", "the path of a file as picture")
def _(home: Path) -> Any:
    return received(home, "file:///etc/passwd")


@case("server", "a web address of a host that may not be asked")
def _(home: Path) -> Any:
    return received(home, "https://elsewhere.example/a.png")


@case("server", "a web address with a password")
def _(home: Path) -> Any:
    return received(home, "https://me:secret@pictures.example/a.png")


@case("server", "a PDF as picture")
def _(home: Path) -> Any:
    return received(home, base64.b64encode(b"%PDF-1.4 1 0 obj").decode())


@case("server", "a picture that is cut short")
def _(home: Path) -> Any:
    return received(home, uri(home / "photo.png", 2000))


@case("server", "a picture beyond the server's limit")
def _(home: Path) -> Any:
    return received(home, uri(home / "photo.png"), pixels=3000)


@case("server", "a question without a picture")
def _(home: Path) -> Any:
    return asked(AnswerRequest, question="what colour is it?")


@case("server", "a field that there is not")
def _(home: Path) -> Any:
    return asked(CaptionRequest, image="aGk=", beams=3)


@case("server", "a hundred drawings at once")
def _(home: Path) -> Any:
    return asked(ImagineRequest, prompt="a star", count=100)


@case("server", "half a surrogate in a question")
def _(home: Path) -> Any:
    return asked(AnswerRequest, image="aGk=", question="\ud800")


@case("server", "two models of one name")
def _(home: Path) -> Any:
    return command("serve", "--port", 0, "--model", home / "model", "--model", home / "model")


@case("server", "an index, and no model that makes embeddings")
def _(home: Path) -> Any:
    return command("serve", "--port", 0, "--model", home / "model", "--index", home / "photos.index")


@case("server", "a file of keys that holds none")
def _(home: Path) -> Any:
    (home / "keys.txt").write_text("\n")
    return command("serve", "--port", 0, "--api-key-file", home / "keys.txt")


@case("server", "a queue that holds less than a request may")
def _(home: Path) -> Any:
    from braid.server import Limits

    return Limits(items=64, queue=8)
