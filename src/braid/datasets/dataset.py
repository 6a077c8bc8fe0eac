"""What every data format becomes: examples by split, and the rows that could not be read, with reasons."""

import copy
import json
import os
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from braid.config import NotStandard, parse_json
from braid.errors import UserError
from braid.records import Example
from braid.shapes import Int

NO_TEXT = "holds half a character (a lone surrogate), which is not text"
VAL_SHARE = 0.1  # of a data set that names no splits
BLOCK = 32  # rows that are compressed together
LONGEST = 100_000  # characters of one text: a long novel's chapter, and a moment's work for the tokenizer


@dataclass(frozen=True)
class SkippedRow:
    """A row that is left out, and why: ``reason`` says what to do about it; ``missing`` where something is not there at all."""

    source: str
    reason: str
    missing: bool = False


class Missing(UserError):
    """A row lacks its picture or its text."""


def skipped_row(source: str, error: UserError) -> SkippedRow:
    return SkippedRow(source, str(error), isinstance(error, Missing))


class Rows(Sequence[Example]):
    """Examples packed into a few arrays; each is made anew whenever it is asked for.

    As objects, a hundred thousand rows take hundreds of megabytes, and as much again in every worker process: looking at an
    object writes its reference count, which copies the page of memory it lies on. So the text lies in compressed blocks, and
    only what is no text (a picture in memory) stays an object. Several texts come back as a tuple.
    """

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self._packed = bytearray()
        self._starts = array("q", [0])
        self._kept: list[Any] = []
        self._names: list[str] = []
        codes = array("i")
        known: dict[str, int] = {}
        places: dict[int | bytes, int] = {}

        def keep(value: Any) -> dict[str, int]:
            key = value if isinstance(value, bytes) else id(value)  # a picture that many rows bring along is kept once
            if key not in places:
                places[key] = len(self._kept)
                self._kept.append(value)
            return {"kept": places[key]}

        write = json.JSONEncoder(default=keep, check_circular=False).encode
        lines: list[str] = []
        for example in examples:
            fields = {role: keep(value) if isinstance(value, dict) else value for role, value in example.fields.items()}
            lines.append(write([example.id, fields, example.source]))
            codes.append(known.setdefault(example.split, len(known)))
            if len(lines) == BLOCK:
                self._pack(lines)
                lines = []
        self._pack(lines)
        self._names = list(known)
        self._codes = np.array(codes, dtype=np.int32)
        self._index = np.arange(len(codes))

    def _pack(self, lines: list[str]) -> None:
        self._packed += zlib.compress("\n".join(lines).encode(), 1)
        self._starts.append(len(self._packed))

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "Example | Rows":
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        row = int(self._index[place])
        return self._example(row, self._block(row // BLOCK))

    def __iter__(self) -> Iterator[Example]:
        held, lines = -1, [""]
        for row in map(int, self._index):
            if row // BLOCK != held:
                held, lines = row // BLOCK, self._block(row // BLOCK)
            yield self._example(row, lines)

    def _block(self, block: int) -> list[str]:
        return zlib.decompress(self._packed[self._starts[block] : self._starts[block + 1]]).decode().split("\n")

    def _example(self, row: int, lines: list[str]) -> Example:
        identity, fields, source = json.loads(lines[row % BLOCK])
        return Example(identity, {role: self._value(fields[role]) for role in fields}, self._names[self._codes[row]], source)

    def _value(self, value: Any) -> Any:
        """Several texts are a tuple; an object in JSON stands for what was kept."""
        if isinstance(value, dict):
            return self._kept[value["kept"]]
        return tuple(value) if isinstance(value, list) else value

    @property
    def splits(self) -> dict[str, int]:
        """Rows by split."""
        counts = np.bincount(self._codes[self._index], minlength=len(self._names))
        return {name: int(count) for name, count in zip(self._names, counts, strict=True) if count}

    def where(self, split: str) -> "Rows":
        """The rows of one split; none, where there is no such split."""
        code = self._names.index(split) if split in self._names else -1
        return self.take(np.flatnonzero(self._codes[self._index] == code))

    def take(self, places: Int[np.ndarray, " _"]) -> "Rows":
        """The rows at these places, in this order; nothing but their numbers is copied."""
        part = copy.copy(self)
        part._index = self._index[places]
        return part

    def assigned(self, splits: Iterable[str]) -> "Rows":
        """The same rows in other splits, one name a row."""
        moved = copy.copy(self)
        known: dict[str, int] = {}
        moved._codes = self._codes.copy()
        moved._codes[self._index] = [known.setdefault(split, len(known)) for split in splits]
        moved._names = list(known)
        return moved


@dataclass(frozen=True)
class Dataset:
    """Examples as they are on disk; pictures stay paths until a batch needs them, or encoded, if the file holds them."""

    path: str
    format: str
    examples: Rows
    skipped: tuple[SkippedRow, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column, where the format has columns

    @property
    def splits(self) -> dict[str, int]:
        """Rows by split; "" holds those that the data set assigns to none."""
        return self.examples.splits

    def split(self, name: str) -> Rows:
        """The rows of one split; ``all`` takes every row.

        Raises:
            UserError: when there are none, with the splits there are.
        """
        result = self.examples if name == "all" else self.examples.where(name)
        if not result:
            there = ", ".join(f"{split or 'unassigned'} ({count})" for split, count in sorted(self.splits.items()))
            first = "".join(f"; the first that is left out: {row.source}: {row.reason}" for row in self.skipped[:1])
            if not there and first:
                raise UserError(f"{self.path}: none of {len(self.skipped)} rows can be read{first}")
            message = f"it has {there or 'no rows at all'}; all takes every row"
            raise UserError(f"{self.path} has no rows in split {name!r}; {message}{first}")
        return result


def with_splits(examples: Iterable[Example], val_share: float = VAL_SHARE) -> Rows:
    """Examples as they are if any names a split; else train and val, by a hash of the picture (or text, or id).

    The same picture lands in the same split, whatever else the data set holds; a small one gives up its first by hash.
    """
    rows = examples if isinstance(examples, Rows) else Rows(examples)
    if any(rows.splits):
        return rows
    places = np.fromiter((_place(example) for example in rows), np.int64, len(rows))
    limit = max(10_000 * val_share, places.min() + 1) if len(np.unique(places)) > 1 else 0
    return rows.assigned("val" if place < limit else "train" for place in places)


def _place(example: Example) -> int:
    """0..9,999 by a hash of what the row is about."""
    image = example.fields.get("image")
    if isinstance(image, bytes):
        return zlib.crc32(image) % 10_000
    identity = Path(image).name if isinstance(image, str | Path) else str(example.fields.get("text", example.id))
    return zlib.crc32(f"braid {identity}".encode(errors="surrogatepass")) % 10_000  # a file's name may be no UTF-8


def split_named(name: str) -> str:
    """The split that a file is named after (captions_val2017.json); "" where it names none."""
    match = re.search("train|val|test", name, re.IGNORECASE)
    return match[0].lower() if match else ""


def file_finder() -> Callable[[str | Path], bool]:
    """Whether a file exists, from one listing of each folder instead of one look-up a file."""
    listed: dict[str, set[str]] = {}

    def exists(path: str | Path) -> bool:
        parent, name = os.path.split(path)
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(parent or "."))
            except (OSError, ValueError):  # a folder whose name no file system takes
                listed[parent] = set()
        return name in listed[parent]

    return exists


class ImageFinder:
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


def located(locate: ImageFinder, file: Path, *names: str) -> str:
    """The path of a picture that ``file`` speaks of, by the first of its possible names that is there.

    Raises:
        Missing: when none is.
    """
    for name in names:
        place = locate(name)
        if place is not None:
            return str(place)
    raise Missing(f"{names[0]} is not in any folder near {file}; put the pictures beside it")


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
        return parse_json(path.read_text(encoding="utf-8"), nan=True)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except NotStandard:
        raise UserError(f"{path} holds nesting or a number without end; is it the right file?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); is the file complete?") from None


def parse(text: str) -> Any:
    """The JSON of one row; NaN is let through, and refused where a value is used.

    Raises:
        UserError: saying what is wrong with it, in a few words.
    """
    try:
        return parse_json(text, nan=True)
    except NotStandard:
        raise UserError("nesting or a number without end") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{error.msg}, column {error.colno}") from None


def check_length(text: str, what: str) -> str:
    """``text``, if it is of a length that somebody wrote.

    Raises:
        UserError: naming ``what`` is too long.
    """
    if len(text) > LONGEST:
        raise UserError(f"{what} has {len(text):,} characters, at most {LONGEST:,} are read; shorten it or remove the row")
    return text


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
    """The captions of a picture; see ``clean_texts``."""
    return clean_texts(texts, "caption", "picture")


def clean_texts(texts: Iterable[Any], what: str, row: str) -> tuple[str, ...]:
    """The texts that hold anything, without space around them. ``what`` they are and which ``row`` they are of is for messages.

    Raises:
        UserError: when none does, or one is no text.
    """
    texts = tuple(texts)
    odd = [text for text in texts if not isinstance(text, str)]
    if odd:
        raise UserError(f"has the {what} {odd[0]!r}, which is no text; write one or remove it")
    result = tuple(check_length(text.strip(), f"its {what}") for text in texts if text.strip())
    if not all(map(is_text, result)):
        raise UserError(f"{NO_TEXT}; write it again")
    if not result:
        raise Missing(f"has no {what}; write one or remove the {row}")
    return result
