"""The result of reading any data format: examples by split, and the rows that could not be read, with reasons."""

import copy
import json
import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, overload

import numpy as np

from braid.config import NotStandard, kinds, parse_json
from braid.errors import Missing, UserError
from braid.files import file_named
from braid.files.paths import not_a_path, shortened, spellings
from braid.files.text import encoding_of, read_text
from braid.media import Clip
from braid.modalities import InputModalityConfig
from braid.modalities.cells import check_length, why_no_text
from braid.records import Example
from braid.shapes import Int

BLOCK = 32  # rows that are compressed together
PLAIN = (str, int, float, list, tuple, type(None))  # items of a list that JSON can represent


@dataclass(frozen=True)
class SkippedRow:
    """A skipped row. ``reason`` says why, and what to do about it; ``missing`` is True if a value does not exist."""

    source: str
    reason: str
    missing: bool = False


def skipped_row(source: str, error: UserError) -> SkippedRow:
    return SkippedRow(source, str(error), isinstance(error, Missing))


class Rows(Sequence[Example]):
    """Examples packed into a few arrays; an example is built each time it is read.

    As objects, a hundred thousand rows take hundreds of megabytes, and as much again in every worker process: reading an
    object changes its reference count, which copies its page of memory. So texts, numbers and table cells are stored as
    compressed JSON, and only other values (an image in memory) stay objects. A list is returned as a tuple.
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
            key = value if isinstance(value, bytes) else id(value)  # an image that several rows share is stored once
            if key not in places:
                places[key] = len(self._kept)
                self._kept.append(value)
            return {"kept": places[key]}

        write = json.JSONEncoder(default=keep, check_circular=False).encode
        lines: list[str] = []
        for example in examples:
            fields = {role: _packable(value, keep) for role, value in example.fields.items()}
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
        """The inverse of ``_packable``; a list is a tuple."""
        if isinstance(value, dict):
            if "clip" in value:
                return Clip(*value["clip"])
            return value["cells"] if "cells" in value else self._kept[value["kept"]]
        return tuple(value) if isinstance(value, list) else value

    @property
    def splits(self) -> dict[str, int]:
        """Rows by split."""
        counts = np.bincount(self._codes[self._index], minlength=len(self._names))
        return {name: int(count) for name, count in zip(self._names, counts, strict=True) if count}

    def where(self, split: str) -> "Rows":
        """The rows of one split; empty if there is no such split."""
        code = self._names.index(split) if split in self._names else -1
        return self.take(np.flatnonzero(self._codes[self._index] == code))

    def take(self, places: Int[np.ndarray, " _"]) -> "Rows":
        """The rows at these indices, in this order; only the indices are copied."""
        part = copy.copy(self)
        part._index = self._index[places]
        return part

    def assigned(self, splits: Iterable[str]) -> "Rows":
        """The same rows in other splits; ``splits`` has one name per row."""
        moved = copy.copy(self)
        known: dict[str, int] = {}
        moved._codes = self._codes.copy()
        moved._codes[self._index] = [known.setdefault(split, len(known)) for split in splits]
        moved._names = list(known)
        return moved


def _packable(value: Any, keep: Callable[[Any], Any]) -> Any:
    """A value that JSON can represent. A part of a file and a dict of plain values are marked, because a stored object is a dict
    in JSON, too. A tuple that holds an object, such as samples and their rate, is an object."""
    if isinstance(value, tuple | list):
        return value if all(isinstance(one, PLAIN) for one in value) else keep(value)
    if isinstance(value, Clip) and isinstance(value.file, str):
        return {"clip": [value.file, value.start, value.end]}
    if not isinstance(value, dict):
        return value
    plain = all(isinstance(key, str) and (cell is None or isinstance(cell, str | int | float)) for key, cell in value.items())
    return {"cells": value} if plain else keep(value)


@dataclass(frozen=True)
class Dataset:
    """Examples as they are on disk. Files stay paths until a batch needs them, or encoded bytes if a table contains them."""

    path: str
    format: str
    examples: Rows
    skipped: tuple[SkippedRow, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column, if the format has columns
    unused: tuple[str, ...] = ()  # columns without a role
    notes: tuple[str, ...] = ()  # what is passed over, or read in a way that the user may not expect
    hidden: int = 0  # files and folders that are passed over because they are hidden
    guess: str = ""  # how the splits were chosen, if no row names one

    @property
    def splits(self) -> dict[str, int]:
        """Number of rows by split; "" is for rows without a split."""
        return self.examples.splits

    @property
    def said(self) -> tuple[str, ...]:
        """What a user should know of how the data set is read."""
        rows, alone = len(self.examples), self.splits.get("", 0)
        unused = f"{alone:,} of {rows:,} rows name no split and are used by none; name their split, or remove them"
        return (*self.notes, *([unused] if 0 < alone < rows else []), *([self.guess] if self.guess else []))

    def split(self, name: str) -> Rows:
        """The rows of one split; ``all`` takes every row.

        Raises:
            UserError: when the split has no rows, naming the splits that exist.
        """
        result = self.examples if name == "all" else self.examples.where(name)
        if not result:
            there = ", ".join(f"{split or 'unassigned'} ({count})" for split, count in sorted(self.splits.items()))
            first = "".join(f"; the first skipped row is {row.source}: {row.reason}" for row in self.skipped[:1])
            if not there and first:
                raise UserError(f"{self.path}: none of {len(self.skipped)} rows can be read{first}")
            message = f"it has {there or 'no rows at all'}; all takes every row"
            said = "".join(f"; {text}" for text in self.said)
            raise UserError(f"{self.path} has no rows in split {name!r}; {message}{said}{first}")
        return result


def file_kinds() -> dict[str, Any]:
    """The modalities whose values are files, by kind, which is also their role."""
    return {kind: config for kind, config in kinds(InputModalityConfig).items() if config.suffixes}


def files_of(example: Example, roles: Iterable[str]) -> dict[str, str | bytes]:
    """A row's files by role: paths and encoded bytes. An object in memory is not a file."""
    return {role: one.file if isinstance(one, Clip) else one for role, one in parts_of(example, roles).items()}


def parts_of(example: Example, roles: Iterable[str]) -> dict[str, str | bytes | Clip]:
    """A row's files by role; a part of a file is told from its other parts."""
    fields = example.fields
    return {role: fields[role] for role in roles if isinstance(fields.get(role), str | bytes | Clip)}


def file_finder() -> Callable[[str | Path], bool]:
    """A function that says whether a file exists. It lists each folder once, instead of looking up every file."""
    listed: dict[str, set[str]] = {}

    def exists(path: str | Path) -> bool:
        parent, name = os.path.split(path)
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(parent or "."))
            except (OSError, ValueError):  # a folder name that no file system allows
                listed[parent] = set()
        return name in listed[parent]

    return exists


class ImageFinder:
    """Finds images that a file names without their folder. It searches the file's folder and subfolders; if no image
    is there, it searches the parent folder and its subfolders (``annotations/`` beside ``train2017/``)."""

    def __init__(self, home: Path, names: Iterable[str]) -> None:
        names = list(names)
        self._exists = file_finder()
        for near in (home, home.parent):
            self._places = [near, *_folders(near)]
            if any(self(name) for name in names):
                return

    def __call__(self, name: str) -> Path | None:
        for place, spelled in product(self._places, spellings(name)):
            there = place / spelled
            if not self._exists(there) and not spelled.isascii():
                there = Path(file_named(str(there)))
            if self._exists(there):
                if place is not self._places[0]:  # the next image is probably there, too
                    self._places.remove(place)
                    self._places.insert(0, place)
                return there
        return None


def located(locate: ImageFinder, file: Path, *names: str) -> str:
    """The path of an image that ``file`` names: the first of the possible names that exists.

    Raises:
        Missing: when no name exists.
    """
    for name in names:
        place = locate(name)
        if place is not None:
            return str(place)
    if reason := not_a_path(names[0]):
        raise Missing(f"has the image {shortened(names[0])}, which {reason}")
    raise Missing(f"{names[0]} is not in any folder near {file}; put the images beside it")


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(inside for inside in place.iterdir() if inside.is_dir() and not inside.name.startswith("."))
    except OSError:
        return []


def read_json(path: Path) -> Any:
    """Read a JSON file of a known format.

    Raises:
        UserError: when it is not text or not JSON.
    """
    try:
        return parse_json(read_text(path), nan=True)
    except NotStandard:
        raise UserError(f"{path} holds nesting or a number without end; is it the right file?") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, is not JSON ({error.msg}); is the file complete?") from None


def head(path: Path, size: int = 65_536) -> str:
    """The beginning of a text file, to recognise its format; "" if it cannot be read, as a folder or a pipe."""
    try:
        if not path.is_file():
            return ""
        with open(path, "rb") as file:
            start = file.read(size)
            return start.decode(encoding_of(start), errors="ignore")
    except OSError:
        return ""


def list_of(whole: Any, name: str, file: Path, shape: str) -> list[Any]:
    """A list of an annotation file; ``shape`` says what the format has, for messages.

    Raises:
        UserError: when there is none.
    """
    if not isinstance(whole, dict) or not isinstance(whole.get(name), list):
        raise UserError(f"{file} has no list of {name}; {shape}")
    return whole[name]


def field_of(row: Any, name: str, shape: str) -> Any:
    """A field of an annotation.

    Raises:
        UserError: when the annotation is no object, or lacks it; null is nothing.
    """
    if not isinstance(row, dict):
        raise UserError(f"is not a JSON object; {shape}")
    if row.get(name) is None:
        raise UserError(f"lacks {name!r}; {shape}")
    return row[name]


def id_of(row: Any, name: str, shape: str) -> str:
    """An id of an annotation; 7, 7.0 and "7" are the same. Raises like ``field_of``."""
    value = field_of(row, name, shape)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def kept_texts(
    given: Iterable[tuple[str, Any]], what: str, row: str, skipped: list[SkippedRow], name: str = "", shape: str = ""
) -> tuple[str, ...]:
    """The texts of a row. An empty one is dropped; one that cannot be read is appended to ``skipped``, and the others stay.

    Args:
        given: the source and the value of each: a text, or an annotation that has it as the field ``name`` (see ``field_of``).
        what, row: the kind of text and what has it, for messages.
    Raises:
        UserError: when no text is left.
    """
    texts, without = list[str](), list[SkippedRow]()
    for source, value in given:
        try:
            texts.append(_clean(field_of(value, name, shape) if name else value, what))
        except UserError as error:
            without.append(skipped_row(source, error))
    result = tuple(filter(None, texts))
    if not result and without:
        raise UserError(without[0].reason)
    if not result:
        raise Missing(f"has no {what}; write one or remove the {row}")
    skipped += without
    return result


def clean_text(value: Any, what: str, row: str) -> str:
    """One text, without surrounding white space; raises like ``kept_texts``."""
    return kept_texts([("", value)], what, row, [])[0]


def _clean(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"has the {what} {shortened(repr(value))}, which is not text; write one or remove it")
    if reason := why_no_text(value):
        raise UserError(f"{reason}; write it again")
    return check_length(value.strip(), f"its {what}")
