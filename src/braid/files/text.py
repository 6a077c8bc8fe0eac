"""Text files: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one. Every reader of texts opens them here, so
that all follow one rule. A line ends with \\n, \\r\\n or \\r, and with no other character.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from braid.errors import UserError
from braid.files.foreign import START, foreign, told

BLOCK = 1 << 18  # bytes that are checked at once
MARKUP = ("html", "svg")  # of the kinds that are foreign to tables, those that are text
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_text(path: Path, newline: str | None = None) -> io.TextIOWrapper:
    """Open a text file, also one packed with gzip; ``newline`` as in ``open``.

    Reading from it raises ``UnicodeError`` where it is not text; ``not_text`` then has the message.

    Raises:
        UserError: for a file of another kind, such as an archive or a pointer of Git LFS.
    """
    file = _opened(path)
    try:
        return io.TextIOWrapper(file, encoding_of(file.peek(4)), newline=newline)
    except BaseException:
        file.close()
        raise


def read_text(path: Path) -> str:
    """The text of a whole file.

    Raises:
        UserError: naming the file and the line, when it is not text.
        OSError: when it cannot be read.
    """
    try:
        with open_text(path) as file:
            return file.read()
    except UnicodeError:
        raise not_text(path) from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without their ends; raises like ``read_text``."""
    return read_text(path).removesuffix("\n").split("\n")


def decoded(path: Path) -> Iterator[str]:
    """The text of a file in blocks, each checked.

    Raises:
        UserError: naming the file and the line, when it is not text.
    """
    with _opened(path) as file:
        encoding = encoding_of(file.peek(4)).removesuffix("-sig")  # the mark counts as bytes of the first line
        decoder, done, line, part = codecs.getincrementaldecoder(encoding)(), 0, 1, b"?"
        while part:
            part = file.read(BLOCK)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(part, final=not part)
            except UnicodeDecodeError as error:
                line += _num_lines(error.object[: error.start].decode(encoding, "ignore"))
                name = "UTF-8" if encoding == "utf-8" else encoding.upper()
                place = f"line {line}, byte {done - pending + error.start}"
                raise UserError(f"{path} is not {name} text ({place}); save it as UTF-8") from None
            done, line = done + len(part), line + _num_lines(text)
            yield text


def not_text(path: Path) -> UserError:
    """The error about a file that could not be decoded."""
    try:
        for _ in decoded(path):
            pass
    except UserError as error:
        return error
    except (OSError, EOFError, zlib.error):  # the end of a packed file is damaged, too
        pass
    return UserError(f"{path} is not UTF-8 text; save it as UTF-8")


def encoding_of(start: bytes) -> str:
    """The encoding of a text that begins with these bytes."""
    for mark, name in MARKS:
        if start.startswith(mark):
            return name
    zeros = [byte == 0 for byte in start[:4]]  # UTF-16 without a mark: each letter of ASCII has a byte 0
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8"


def _num_lines(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _opened(path: Path) -> Any:
    """The bytes of a file, unpacked, with ``peek``.

    Raises:
        UserError: for a file of another kind, such as an archive or a pointer of Git LFS.
    """
    file = gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")  # noqa: SIM115 - the caller closes it
    try:
        if reason := foreign(file.peek(START)[:START], MARKUP):
            raise UserError(told(path, reason, (*MARKUP, "gzip")))
    except BaseException:
        file.close()
        raise
    return file
