"""What every data format becomes: examples by split, and the rows that could not be read, with reasons."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from braid.config import parse_json
from braid.errors import UserError
from braid.records import Example

NO_TEXT = "holds half a character (a lone surrogate), which is not text"
VAL_SHARE = 0.1  # of a data set that names no splits


@dataclass(frozen=True)
class BrokenRow:
    """A row that is left out, and why: ``reason`` says what to do about it."""

    source: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Examples as they are on disk; pictures stay paths until a batch needs them."""

    path: str
    format: str
    examples: tuple[Example, ...]
    broken: tuple[BrokenRow, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column, where the format has columns

    @property
    def splits(self) -> dict[str, int]:
        """Rows by split; "" holds those that the data set assigns to none."""
        return dict(Counter(example.split for example in self.examples))

    def split(self, name: str) -> tuple[Example, ...]:
        """The rows of one split; ``all`` takes every row.

        Raises:
            UserError: when there are none, with the splits there are.
        """
        found = self.examples if name == "all" else tuple(example for example in self.examples if example.split == name)
        if not found:
            there = ", ".join(f"{split or 'unassigned'} ({count})" for split, count in sorted(self.splits.items()))
            raise UserError(f"{self.path} has no rows in split {name!r}; it has {there or 'no rows at all'}; all takes every row")
        return found


def with_splits(examples: Iterable[Example], val_share: float = VAL_SHARE) -> tuple[Example, ...]:
    """Examples as they are if any names a split; else train and val, by a hash of the picture (or text, or id).

    The same picture lands in the same split, whatever else the data set holds; a small one gives up its first by hash.
    """
    examples = tuple(examples)
    if any(example.split for example in examples):
        return examples
    places = [_place(example) for example in examples]
    limit = max(10_000 * val_share, min(places, default=0) + 1) if len(set(places)) > 1 else 0
    return tuple(replace(e, split="val" if place < limit else "train") for e, place in zip(examples, places, strict=True))


def _place(example: Example) -> int:
    """0..9,999 by a hash of what the row is about."""
    image = example.fields.get("image")
    identity = Path(image).name if isinstance(image, str | Path) else str(example.fields.get("text", example.id))
    return crc32(f"braid {identity}".encode(errors="surrogatepass")) % 10_000  # a file's name may be no UTF-8


def file_finder() -> Callable[[Path], bool]:
    """Whether a file exists, from one listing of each folder instead of one look-up a file."""
    listed: dict[str, set[str]] = {}

    def exists(path: Path) -> bool:
        parent = os.path.dirname(path)
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(parent or "."))
            except (OSError, ValueError):  # a folder whose name no file system takes
                listed[parent] = set()
        return path.name in listed[parent]

    return exists


class PictureFinder:
    """Finds pictures that a file names without their folder: beside it or one folder down; if none of them is there,
    one folder up or one up and one down (``annotations/`` beside ``train2017/``)."""

    def __init__(self, home: Path, names: Iterable[str]) -> None:
        names = list(names)
        self._exists = file_finder()
        for near in (home, home.parent):
            self._places = [near, *_folders(near)]
            if any(self(name) for name in names):
                return

    def __call__(self, name: str) -> Path | None:
        for place in self._places:
            if self._exists(place / name):
                if place is not self._places[0]:  # the next picture is most likely there, too
                    self._places.remove(place)
                    self._places.insert(0, place)
                return place / name
        return None


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(inside for inside in place.iterdir() if inside.is_dir() and not inside.name.startswith("."))
    except OSError:
        return []


def read_json(path: Path) -> Any:
    """A JSON file of a known format.

    Raises:
        UserError: when it is no UTF-8 text or no JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); is the file complete?") from None


def head(path: Path, size: int = 65_536) -> str:
    """The beginning of a text file, by which a format is recognised; "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size).decode("utf-8", errors="ignore")
    except OSError:
        return ""


def is_text(value: str) -> bool:
    """Whether UTF-8 can say it; JSON can spell halves of characters (``\\ud800``) that no file and no tokenizer takes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean_captions(texts: Iterable[Any]) -> tuple[str, ...]:
    """The texts that hold anything, without space around them.

    Raises:
        UserError: when none does, or one is not text.
    """
    found = tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())
    if not all(map(is_text, found)):
        raise UserError(f"{NO_TEXT}; write it again")
    if not found:
        raise UserError("has no caption; write one or remove the picture")
    return found
