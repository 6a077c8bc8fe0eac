"""An index in a local folder: index.json (kind, model, files), and one folder with vectors and rows per revision."""

import json
import math
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np

from braid.config import from_dict, to_dict, within
from braid.errors import UserError
from braid.files import alone, read_json, regular, whole, write_whole
from braid.given import several
from braid.index.protocol import AGAIN, Hit, Origin, asked, checked, hit
from braid.index.rows import Rows
from braid.shapes import Float, Float32, UInt64

FORMAT = 1
FILE = "index.json"
REVISION = "revision-"
ROWS = "rows.sqlite"


@dataclass(frozen=True)
class Stored:
    """Size and checksum of a file when it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True)
class Header:
    """The content of index.json. ``index`` has the settings of the kind. If Braid itself writes the files, ``revision`` is their
    folder and ``rows`` the number of rows in them."""

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
        UserError: when the file is missing, cut, of another format, or has wrong values.
    """
    path = folder / FILE
    try:
        data = read_json(path, AGAIN)
    except FileNotFoundError:
        raise UserError(f"there is no index at {folder} (no {FILE}); check the path, or make one") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not of format {FORMAT}, the one this version of Braid reads; update Braid or index it anew")
    return from_dict(Header, data, str(path))


def write_header(folder: Path, header: Header) -> None:
    write_whole(folder / FILE, json.dumps({"format": FORMAT, **to_dict(header)}, indent=2, ensure_ascii=False) + "\n")


def measured(path: Path) -> Stored:
    """A file's size and checksum, read in blocks: about a second for a few gigabytes."""
    crc, piece = 0, bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while read := file.readinto(piece):
            crc = zlib.crc32(memoryview(piece)[:read], crc)
        return Stored(os.fstat(file.fileno()).st_size, crc)


def check(path: Path, header: Header) -> None:
    """Check a file's size and checksum: a copy may be cut or damaged. Whoever damages a file on purpose renews them.

    Raises:
        FileNotFoundError: when the file does not exist.
        UserError: when the file is cut or damaged.
    """
    known = header.files.get(path.name)
    if known is None:
        raise UserError(f"{path.parent.parent / FILE} does not name {path.name}; {AGAIN}")
    size = regular(path, math.inf).stat().st_size
    if size != known.bytes:
        raise UserError(f"{path} has {size:,} bytes instead of {known.bytes:,}; {AGAIN}")
    if measured(path) != known:
        raise UserError(f"{path} is damaged (its checksum differs); {AGAIN}")


Found = list[tuple[UInt64[np.ndarray, " top"], Float[np.ndarray, " top"]]]  # for each query: keys and cosines, best first


@runtime_checkable
class Vectors(Protocol):
    """The vectors of one revision by key: memory-mapped from its file, or being changed."""

    def __len__(self) -> int: ...

    def search(self, queries: Float32[np.ndarray, "n width"], top: int) -> Found: ...

    def add(self, keys: UInt64[np.ndarray, " n"], vectors: Float32[np.ndarray, "n width"]) -> None:
        """Add unit vectors; their keys must be higher than all existing ones."""

    def remove(self, keys: UInt64[np.ndarray, " n"]) -> None: ...

    def write(self) -> None:
        """Write all changes to the file."""


@runtime_checkable
class LocalKind(Protocol):
    """The settings of one kind of local index."""

    @property
    def file(self) -> str:
        """The name of the file with the vectors."""

    def mapped(self, path: Path, width: int) -> Vectors:
        """Open the vectors in a file for reading.

        Raises:
            UserError: when the file does not hold vectors of these settings.
        """

    def changing(self, old: Path | None, path: Path, width: int) -> Vectors:
        """Open a copy of the vectors in ``old`` (None: no vectors) for changes; it is written to ``path``."""


class LocalIndex:
    """Readers keep the revision that they opened. A writer prepares the next revision in a temporary folder, then replaces
    index.json, which names the current revision."""

    def __init__(self, folder: Path, header: Header, kind: LocalKind) -> None:
        """Open the revision that the header names, or begin an empty one if index.json does not exist yet.

        Raises:
            FileNotFoundError: when the revision is gone, because another process has saved the next one.
            UserError: when a file is cut or damaged.
        """
        self.folder = folder
        self._header, self._kind = header, kind
        self._work = ExitStack()  # the temporary files of unsaved changes; empty if there are none
        self._aside: Path | None = None
        if (folder / FILE).exists():
            self._open()
        else:
            self._begin()  # nothing stands in the folder before the first save, so that a killed process leaves no empty index

    @property
    def width(self) -> int:
        return self._header.width

    @property
    def origin(self) -> Origin:
        return self._header.model

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, ids: Sequence[str], vectors: Float[np.ndarray, "..."], metadata: Sequence[Any] | None = None) -> None:
        given = checked(ids, vectors, metadata, self.width)
        with self._changing():
            self.vectors.add(self._rows.add(given.ids, given.metadata), given.vectors)

    def delete(self, ids: Sequence[str]) -> None:
        with self._changing():
            self.vectors.remove(self._rows.remove(several(ids)))

    def known(self, ids: Sequence[str]) -> set[str]:
        return set(self._rows.keys(several(ids)))

    def rows(self) -> Iterator[tuple[str, Any]]:
        for name, metadata in self._rows.all():
            one = hit(str(self.folder / ROWS), name, 0.0, metadata)
            yield one.id, one.metadata

    def search(self, vectors: Float[np.ndarray, "..."], top: int = 10) -> list[list[Hit]]:
        queries = asked(vectors, self.width, top)
        if not len(self) or not len(queries):
            return [[] for _ in queries]
        result = self.vectors.search(queries, min(top, len(self)))
        keys = np.unique(np.concatenate([keys for keys, _ in result])).tolist()
        rows = self._rows.find(keys)
        where = f"{self.folder / self._header.revision / ROWS}"
        if len(rows) < len(keys):
            raise UserError(f"{where} lacks the row of a vector; {AGAIN}")
        return [
            [hit(where, rows[key][0], score, rows[key][1]) for key, score in zip(*map(np.ndarray.tolist, one), strict=True)]
            for one in result
        ]

    def save(self) -> None:
        if self._aside is None:
            return
        try:
            self._rows.commit()
            self.vectors.write()
            files = {name: measured(self._aside / name) for name in (ROWS, self._kind.file)}
            with alone(self.folder):
                self._replace(replace(self._header, revision=self._aside.name, rows=len(self), files=files))
            self._aside = None
            self._open()
        except BaseException as error:
            self._forget(error)
            raise

    def close(self) -> None:
        self._rows.close()
        self._drop(_Dropped())

    def _open(self) -> None:
        if not self._header.revision:
            raise UserError(f"{self.folder / FILE} names no revision; {AGAIN}")
        place = self.folder / self._header.revision
        try:
            for name in (ROWS, self._kind.file):
                check(place / name, self._header)
            self._rows = Rows(place / ROWS)
            self.vectors = self._kind.mapped(place / self._kind.file, self.width)
            if len(self.vectors) != self._header.rows:
                raise UserError(f"{self.folder / FILE} says {self._header.rows} rows, {place} has {len(self.vectors)}; {AGAIN}")
        except Exception:
            if not place.is_dir():
                raise FileNotFoundError(place) from None
            raise

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Run a change of the next revision. A ``UserError`` keeps earlier changes; other errors discard all unsaved changes."""
        if self._aside is None:
            self._begin()
        try:
            yield
        except UserError:
            raise
        except BaseException as error:
            self._forget(error)
            raise

    def _begin(self) -> None:
        """Begin the next revision in a temporary folder, as a copy of the newest revision."""
        if self._header.revision and read_header(self.folder) != self._header:
            self._forget(_Dropped())
        old = self.folder / self._header.revision
        try:
            aside = self._work.enter_context(whole(self.folder / f"{REVISION}{uuid4().hex[:12]}"))
            aside.mkdir()
            known = bool(self._header.revision)
            rows = Rows.changing(old / ROWS if known else None, aside / ROWS)
            vectors = self._kind.changing(old / self._kind.file if known else None, aside / self._kind.file, self.width)
        except BaseException as error:
            self._drop(error)
            raise
        if known:
            self._rows.close()
        self._rows, self.vectors, self._aside = rows, vectors, aside

    def _replace(self, header: Header) -> None:
        """Replace the revision that the next one was copied from.

        Raises:
            UserError: when another process has saved a revision since then.
        """
        if self._header.revision and read_header(self.folder).revision != self._header.revision:
            raise UserError(f"another process has changed {self.folder} meanwhile; nothing was saved, repeat the change")
        self._work.close()
        write_header(self.folder, header)
        self._header = header
        for old in self.folder.glob(f"{REVISION}*"):
            if old.name != header.revision:
                shutil.rmtree(old, ignore_errors=True)  # if an open file cannot be removed, the next writer tries again

    def _forget(self, error: BaseException) -> None:
        """Discard unsaved changes, and open the revision that was saved last, by any process."""
        self._rows.close()
        try:
            self._drop(error)
        finally:
            if self._header.revision:
                self._header = read_header(self.folder)
                self._open()

    def _drop(self, error: BaseException) -> None:
        """Remove the temporary files of unsaved changes. A disk error is raised again, with the name of the folder."""
        self._aside = None
        self._work.__exit__(type(error), error, error.__traceback__)


class _Dropped(Exception):
    """Signals that unsaved changes are discarded on purpose, not because of an error."""
