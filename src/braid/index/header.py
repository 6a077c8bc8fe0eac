"""index.json: what an index is, which model made it, and which files hold it now."""

import json
import os
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from braid.config import from_dict, parse_json, to_dict, within
from braid.errors import UserError
from braid.files import write_whole
from braid.index.index import Origin

FORMAT = 1
FILE = "index.json"
REVISION = "revision-"
AGAIN = "copy the index again, or make it anew"


@dataclass(frozen=True)
class Stored:
    """A file as it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True)
class Header:
    """``index`` holds the settings of the kind. Where the files are Braid's own, ``revision`` names their folder, and ``rows``
    says how many they hold."""

    width: int
    model: Origin
    index: dict[str, Any]
    metric: Literal["cosine"] = "cosine"
    revision: str = ""
    rows: int = 0
    files: dict[str, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self, 1, 65_536, "width")
        if not re.fullmatch(rf"({REVISION}[0-9a-f]+)?", self.revision):
            raise UserError(f"revision is {self.revision!r}, not {REVISION} and a number")


def read_header(folder: Path) -> Header:
    """Read index.json.

    Raises:
        UserError: when there is none, or it is cut, of another format, or nonsense.
    """
    path = folder / FILE
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no index at {folder} (no {FILE}); check the path, or make one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}); {AGAIN}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not of format {FORMAT}, the one this version of Braid reads; update Braid or index it anew")
    return from_dict(Header, data, str(path))


def write_header(folder: Path, header: Header) -> None:
    write_whole(folder / FILE, json.dumps({"format": FORMAT, **to_dict(header)}, indent=2, ensure_ascii=False) + "\n")


def measured(path: Path) -> Stored:
    """A file's size and checksum, read in pieces: about a second for a few gigabytes."""
    crc, piece = 0, bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while read := file.readinto(piece):
            crc = zlib.crc32(memoryview(piece)[:read], crc)
        return Stored(os.fstat(file.fileno()).st_size, crc)


def check(path: Path, header: Header) -> None:
    """Hold a file to what was written: a damaged graph would lead the library out of its memory.

    Raises:
        FileNotFoundError: when it is not there.
        UserError: when it is cut or damaged.
    """
    known = header.files.get(path.name)
    if known is None:
        raise UserError(f"{path.parent.parent / FILE} does not name {path.name}; {AGAIN}")
    size = path.stat().st_size
    if size != known.bytes:
        raise UserError(f"{path} has {size:,} bytes instead of {known.bytes:,}; {AGAIN}")
    if measured(path) != known:
        raise UserError(f"{path} is damaged (its checksum differs); {AGAIN}")
