"""What a client sends as a picture -> its bytes -> what a model reads: each picture alone, before it meets others in a batch."""

import base64
import binascii
import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError

from braid.errors import UserError
from braid.modalities import InputModality

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # no format that runs another program or nests files
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)

# The size is held to a limit of our own, by a message; the filter is set once because threads share it.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Pictures:
    """Turns what clients send into pictures.

    Args:
        pixels: the most that a picture may have.
        fetch: gives the bytes at a web address, or raises ``UserError``.
    """

    pixels: int
    fetch: Callable[[str], bytes]

    def encoded(self, given: str | bytes) -> bytes:
        """The bytes of a picture that is a data URI, plain base64, a web address, or bytes already.

        Raises:
            UserError: when it is none of them, or may not be fetched.
        """
        if isinstance(given, bytes):
            return given
        if re.match(r"https?://", given, re.IGNORECASE):
            return self.fetch(given)
        if given[:5].lower() == "data:":
            header = _DATA.match(given)
            if not header:
                raise UserError("the data URI is not of the form data:image/png;base64,...")
            given = given[header.end() :]
        elif re.match(r"[\w.+-]+:", given):
            raise UserError("a picture is a data URI, base64, or an http address; other addresses are not read")
        try:
            return base64.b64decode("".join(given.split()), validate=True)
        except (binascii.Error, ValueError):
            raise UserError("the picture is not base64; send a data URI (data:image/png;base64,...) or base64 alone") from None

    def prepared(self, encoded: bytes, inputs: Mapping[str, InputModality]) -> Any:
        """A picture as a model with these inputs reads it.

        Raises:
            UserError: when it is damaged, of another format, or has too many pixels.
        """
        modality = inputs.get("image")
        if modality is None:
            raise UserError(f"this model reads no picture; it reads {', '.join(inputs)}")
        self._check_size(encoded)
        return modality.prepare(encoded, "the picture")

    def _check_size(self, encoded: bytes) -> None:
        """By the file's own head, before anything is decoded."""
        try:
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                width, height = image.size
        except UnidentifiedImageError:
            known = "JPEG, PNG, WebP, GIF, BMP or TIFF"
            raise UserError(f"the picture is not a file of {known}, or is cut short; save it as PNG or JPEG") from None
        except Image.DecompressionBombError:
            raise UserError(self._too_large("far")) from None
        except Exception as error:
            raise UserError(f"the picture is damaged ({type(error).__name__}); save it as PNG or JPEG") from None
        if width * height > self.pixels:
            raise UserError(self._too_large(f"with {width} x {height}"))

    def _too_large(self, how: str) -> str:
        return f"the picture is too large, {how} beyond {self.pixels / 1e6:g} megapixels; make it smaller"


def picture_or_error(make: Callable[[], Any]) -> Any:
    """A picture, or why there is none: in a request of many items it is told beside the others' answers."""
    try:
        return make()
    except UserError as error:
        return error
