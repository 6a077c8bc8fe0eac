"""What clients send a server, and what keeps one from starting."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bad.case import case, command
from braid.bundle import read_bundle
from braid.errors import UserError
from braid.server.config import Limits
from braid.server.endpoints import ENDPOINTS, Service
from braid.server.guard import Metrics
from braid.server.models import Catalogue
from braid.server.openai_schemas import ChatRequest, EmbeddingsRequest
from braid.server.requests import ApiError, parse_body, validated
from braid.server.uploads import Uploads, fetch


def received(home: Path, given: str, pixels: int = 32_000_000) -> Any:
    """What a server makes of an image for the model in ``home``."""
    uploads = Uploads(pixels, lambda url: fetch(url, frozenset({"images.example"}), 10**6))
    return uploads.prepared(uploads.encoded(given), "image", read_bundle(home / "model").inputs["image"])


@contextmanager
def told() -> Iterator[None]:
    """The message of a refused request."""
    try:
        yield
    except ApiError as error:
        raise UserError(str(error)) from None


def sent(home: Path, path: str, **fields: Any) -> Any:
    """What an endpoint reads in a body, for models with the inputs of the one in ``home``."""
    endpoint = next(one for one in ENDPOINTS if one.path == path)
    with told():
        return validated(endpoint.form([read_bundle(home / "model").interface.inputs]).one, fields)


def classified(number: int, *labels: str) -> Any:
    """What is done with texts and labels of one's own."""
    endpoint = next(one for one in ENDPOINTS if one.path == "classify")
    items = [{"text": "a dog"}] * number
    with told():
        settings = validated(endpoint.form([]).many, {"items": items, "labels": list(labels)})
        service = Service(Catalogue([]), Uploads(0, lambda url: b""), Limits(), Metrics())
        return endpoint.verb(service, settings, items)


def asked(*parts: Any, **fields: Any) -> Any:
    """What is read of a conversation in the form of OpenAI's API."""
    with told():
        return validated(ChatRequest, {"model": "small", "messages": [{"role": "user", "content": list(parts)}], **fields})


def uri(file: Path, most: int | None = None) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()[:most]).decode("ascii")


@case("server", "an image that is not base64")
def _(home: Path) -> Any:
    return received(home, "photo.png")


@case("server", "a data URI that is not base64")
def _(home: Path) -> Any:
    return received(home, "data:image/svg+xml,<svg/>")


@case("server", "a data URI without a file")
def _(home: Path) -> Any:
    return received(home, "data:image/png;base64,")


@case("server", "base64 whose + became spaces in a form")
def _(home: Path) -> Any:
    return received(home, "iVBORw0KGgo AAAANSUhEUgA")


@case("server", "the path of a file as image")
def _(home: Path) -> Any:
    return received(home, "file:///etc/passwd")


@case("server", "a web address of a host that is not allowed")
def _(home: Path) -> Any:
    return received(home, "https://elsewhere.example/a.png")


@case("server", "a web address with a password")
def _(home: Path) -> Any:
    return received(home, "https://me:secret@images.example/a.png")


@case("server", "a PDF as image")
def _(home: Path) -> Any:
    return received(home, base64.b64encode(b"%PDF-1.4 1 0 obj").decode())


@case("server", "an image that is cut short")
def _(home: Path) -> Any:
    return received(home, uri(home / "photo.png", 2000))


@case("server", "an image beyond the server's limit")
def _(home: Path) -> Any:
    return received(home, uri(home / "photo.png"), pixels=3000)


@case("server", "a question without an image")
def _(home: Path) -> Any:
    return sent(home, "answer", question="what colour is it?")


@case("server", "a field that does not exist")
def _(home: Path) -> Any:
    return sent(home, "caption", image="aGk=", beams=3)


@case("server", "a hundred images at once")
def _(home: Path) -> Any:
    return sent(home, "imagine", prompt="a star", count=100)


@case("server", "half a surrogate in a question")
def _(home: Path) -> Any:
    return sent(home, "answer", image="aGk=", question="\ud800")


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


@case("server", "a table that is no object")
def _(home: Path) -> Any:
    form = next(one for one in ENDPOINTS if one.path == "classify").form([])
    with told():
        return validated(form.one, {"tabular": "price 12"})


@case("server", "a body of a million values")
def _(home: Path) -> Any:
    with told():
        return parse_body(b'{"items": [' + b"1," * 1_000_000 + b"1]}")


@case("server", "a name of a field of a million characters")
def _(home: Path) -> Any:
    return sent(home, "caption", **{"x" * 1_000_000: 1})


@case("server", "two labels that look the same")
def _(home: Path) -> Any:
    return classified(1, "dog", "cat", "dog ")


@case("server", "a thousand labels for 64 texts")
def _(home: Path) -> Any:
    return classified(64, *(f"label {number}" for number in range(1000)))


@case("server", "a content part of another API")
def _(home: Path) -> Any:
    return asked({"type": "input_image", "image_url": "data:image/png;base64,aGk="})


@case("server", "an input_audio that is a text")
def _(home: Path) -> Any:
    return asked({"type": "input_audio", "input_audio": "UklGRg=="})


@case("server", "a video_url that is a text")
def _(home: Path) -> Any:
    return asked({"type": "video_url", "video_url": "data:video/mp4;base64,aGk="})


@case("server", "an image_url that is a text")
def _(home: Path) -> Any:
    return asked({"type": "image_url", "image_url": "data:image/png;base64,aGk="})


@case("server", "a tool")
def _(home: Path) -> Any:
    return asked({"type": "text", "text": "what is it?"}, tools=[{"type": "function"}])


@case("server", "an answer as JSON")
def _(home: Path) -> Any:
    return asked({"type": "text", "text": "what is it?"}, response_format={"type": "json_object"})


@case("server", "token ids to embed")
def _(home: Path) -> Any:
    with told():
        return validated(EmbeddingsRequest, {"model": "small", "input": [1, 2, 3]})


@case("server", "an empty text to embed")
def _(home: Path) -> Any:
    with told():
        return validated(EmbeddingsRequest, {"model": "small", "input": ["a dog", ""]})
