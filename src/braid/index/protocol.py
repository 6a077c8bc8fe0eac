"""The protocol of every index (vectors with ids and metadata, searched by cosine), and checks of its arguments."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from braid.config import parse_json
from braid.errors import UserError, install_command
from braid.given import several
from braid.shapes import Float, Float32, Num

AGAIN = "copy the index again, or make it anew"
TWO, MINUS_TWO = 0x4000, 0xC000  # the bits of float16


@dataclass(frozen=True)
class Origin:
    """The model of the vectors: its name, and a hash of everything that the vectors depend on (weights, tokenizer)."""

    name: str
    hash: str

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:12]})"


@dataclass(frozen=True)
class Hit:
    """One row that a search found: ``score`` is the cosine, -1 to 1; ``metadata`` is the row's metadata, read from JSON."""

    id: str
    score: float
    metadata: Any


@runtime_checkable
class Index(Protocol):
    """One open index. One process may change it while others read it; readers see saved changes when they open it again."""

    folder: Path

    @property
    def width(self) -> int: ...

    @property
    def origin(self) -> Origin: ...

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: Float[np.ndarray, "n width"], metadata: Sequence[Any] | None = None) -> None:
        """Add rows, all or none; vectors are scaled to length 1.

        Raises:
            UserError: naming the row, for a vector of another width, of zeros or NaN, an id that exists already, or metadata
                that is not JSON.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows, all or none.

        Raises:
            UserError: naming an id that does not exist.
        """

    def known(self, ids: Sequence[str]) -> set[str]:
        """The subset of ``ids`` that the index has."""
        ...

    def rows(self) -> Iterator[tuple[str, Any]]:
        """The id and the metadata of every row."""
        ...

    def search(self, vectors: Float[np.ndarray, "n width"], top: int = 10) -> list[list[Hit]]:
        """The ``top`` nearest rows of each query, best first; fewer if the index has fewer rows.

        Raises:
            UserError: for the same vectors as ``add``.
        """

    def save(self) -> None:
        """Save all changes since the last ``save``: all of them, or none if the process is killed.

        A database saves each change at once; for a database, this only cleans up.
        """

    def close(self) -> None:
        """Close the files; unsaved changes are lost."""


def hit(where: str, identity: Any, score: float, metadata: Any) -> Hit:
    """A hit of a row as it is stored, in an index that anybody may have made.

    Raises:
        UserError: when the row was not written by Braid.
    """
    try:
        if not isinstance(identity, str) or not isinstance(metadata, str):
            raise UserError(f"{where} has the row {str(identity)[:80]!r}, whose id or metadata is not text; {AGAIN}")
        return Hit(identity, score, parse_json(metadata))
    except JSONDecodeError as error:
        raise UserError(f"{where} has the row {identity[:80]!r}, whose metadata is not JSON ({error}); {AGAIN}") from None


def are_units(vectors: Num[np.ndarray, "n width"]) -> bool:
    """Whether stored vectors can have length 1: none holds NaN, infinity or a large number."""
    if vectors.dtype == np.float16 and vectors.size:  # by its bits, which is several times as fast
        return bool(vectors.view(np.int16).max() <= TWO and vectors.view(np.uint16).max() <= MINUS_TWO)
    return vectors.dtype.kind != "f" or not vectors.size or bool(vectors.max() <= 2 and vectors.min() >= -2)


def needed(package: str, extra: str) -> Any:
    """Import a package that an extra installs.

    Raises:
        UserError: when it is not installed, with the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError:
        name = package.partition(".")[0]
        raise UserError(f"this index needs {name}, which is not installed; run: {install_command(extra)}") from None


Storage = Literal["float32", "float16", "int8"]  # the type in which a vector's values are stored


class Given(NamedTuple):
    """Rows to add: vectors of length 1, metadata as JSON."""

    ids: list[str]
    vectors: Float32[np.ndarray, "n width"]
    metadata: list[str]


def checked(ids: Sequence[str], vectors: Float[np.ndarray, "..."], metadata: Sequence[Any] | None, width: int) -> Given:
    """Check rows before they are added. Without ``metadata``, each row gets null.

    Raises:
        UserError: naming the first row that cannot be added.
    """
    ids = several(ids)
    data = [None] * len(ids) if metadata is None else metadata
    if not len(ids) == len(vectors) == len(data):
        raise UserError(f"{len(ids)} ids, {len(vectors)} vectors and {len(data)} metadata were given; give one of each a row")
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not isinstance(name, str):
            raise UserError(f"the id of row {row} is {name!r}; ids are text")
        if first.setdefault(name, row) != row:
            raise UserError(f"rows {first[name]} and {row} have the same id {name!r}; ids must differ")
        _utf8(f"the id of row {row}", name)
    units = unit(vectors, width, ids)
    return Given(list(ids), units, [_json(value, f"row {row} ({ids[row]!r})") for row, value in enumerate(data)])


def asked(vectors: Float[np.ndarray, "..."], width: int, top: int) -> Float32[np.ndarray, "n {width}"]:
    """Scale queries to length 1.

    Raises:
        UserError: like ``unit``, and for a ``top`` below 1.
    """
    if top < 1:
        raise UserError(f"top is {top}; it must be at least 1")
    return unit(vectors, width)


def unit(vectors: Float[np.ndarray, "..."], width: int, ids: Sequence[str] | None = None) -> Float32[np.ndarray, "n {width}"]:
    """Scale vectors to length 1.

    Raises:
        UserError: for another width, or for a vector of zeros or with NaN, naming its row and id.
    """
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise UserError(f"the index holds vectors of width {width}; those given are {list(vectors.shape)}, not [n, {width}]")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    odd = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(odd):
        row = int(odd[0])
        named = f"row {row} ({ids[row]!r})" if ids is not None else f"query {row}"
        why = "is all zeros, which points nowhere" if lengths[row] == 0 else "holds NaN or infinity"
        raise UserError(f"the vector of {named} {why}; leave it out")
    return (vectors / lengths).astype(np.float32)


def stored(vectors: Float32[np.ndarray, "n width"], storage: Storage) -> Num[np.ndarray, "n width"]:
    """Convert unit vectors to the stored type. Cosine ignores length, so each int8 vector gets the full range, -127 to 127."""
    if storage == "int8":
        return np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)
    return vectors.astype(storage)


def _json(value: Any, named: str) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        message = {ValueError: "it holds NaN or infinity", RecursionError: "it is nested without end"}.get(type(error), error)
        raise UserError(f"the metadata of {named} is not JSON ({message}); give text, numbers, lists and objects") from None
    return _utf8(f"the metadata of {named}", text)


def _utf8(what: str, text: str) -> str:
    """Check that a text is valid UTF-8, which files and databases need; a file name may not be valid."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} holds half a character (a lone surrogate), which is not text; leave it out") from None
    return text
