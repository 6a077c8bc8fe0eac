"""The ids and metadata of an index in a SQLite file. It is read page by page, so a million rows take little memory."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from braid.errors import UserError
from braid.index.protocol import AGAIN
from braid.shapes import UInt64

TOGETHER = 500  # values per query
LARGEST_KEY = 2**62
TABLE = "CREATE TABLE rows (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, metadata TEXT NOT NULL)"
SCHEMA = [("index", "sqlite_autoindex_rows_1", None), ("table", "rows", TABLE)]


class Rows:
    """Maps a key to an id and metadata. Keys increase from row to row, and each key belongs to a vector. Ids are unique."""

    def __init__(self, path: Path) -> None:
        """Open a file for reading. It is never changed, so it needs no locks, and may be replaced while it is open."""
        self._path = path
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )
        self._check_schema()

    @classmethod
    def changing(cls, old: Path | None, path: Path) -> "Rows":
        """A copy of ``old`` at ``path`` (empty if ``old`` is None) to change and commit."""
        if old is not None:
            shutil.copyfile(old, path)
        rows = cls.__new__(cls)
        rows._path = path
        rows._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        with rows._disk():
            # No other process sees this file before it is complete, so it needs no journal on disk.
            rows._connection.execute("PRAGMA journal_mode = MEMORY")
            rows._connection.execute("PRAGMA synchronous = OFF")
            rows._connection.execute("PRAGMA cache_size = -16384")  # 16 MB
            rows._connection.execute("BEGIN")
            if old is None:
                rows._connection.execute(TABLE)
        rows._check_schema()
        return rows

    def _check_schema(self) -> None:
        """Refuse a file with other tables than ours: views and triggers of others would run when it is read.

        Raises:
            UserError: when there is something else, or it is no database.
        """
        with self._disk():
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA cell_size_check = ON")
            if self._connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type").fetchall() != SCHEMA:
                raise UserError(f"{self._path} holds other tables than those of an index; {AGAIN}")
            first, last = self._connection.execute("SELECT (SELECT min(key) FROM rows), (SELECT max(key) FROM rows)").fetchone()
            if first is not None and not 0 <= first <= last <= LARGEST_KEY:
                raise UserError(f"{self._path} has keys from {first} to {last}; {AGAIN}")

    def add(self, ids: Sequence[str], metadata: Sequence[str]) -> UInt64[np.ndarray, " n"]:
        """Add rows, all or none, and return their keys.

        Raises:
            UserError: naming an id that exists already.
        """
        with self._disk():
            (last,) = self._connection.execute("SELECT max(key) FROM rows").fetchone()
            first = 0 if last is None else last + 1
            self._connection.execute("SAVEPOINT adding")
            try:
                rows = zip(range(first, first + len(ids)), ids, metadata, strict=True)
                self._connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
            except sqlite3.IntegrityError:
                self._connection.execute("ROLLBACK TO adding")
                raise UserError(f"id {next(iter(self.keys(ids)))!r} is in the index already; delete it first") from None
            finally:
                self._connection.execute("RELEASE adding")
        return np.arange(first, first + len(ids), dtype=np.uint64)

    def remove(self, ids: Sequence[str]) -> UInt64[np.ndarray, " n"]:
        """Remove rows, all or none, and return their keys.

        Raises:
            UserError: naming an id that does not exist.
        """
        known = self.keys(ids)
        for name in ids:
            if name not in known:
                raise UserError(f"id {name!r} is not in the index; nothing was deleted")
        with self._disk():
            self._connection.executemany("DELETE FROM rows WHERE key = ?", ((key,) for key in known.values()))
        return np.array(sorted(known.values()), dtype=np.uint64)

    def keys(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of the ids that exist."""
        return dict(self._found("SELECT id, key FROM rows WHERE id IN", ids))

    def all(self) -> Iterator[tuple[str, str]]:
        """The id and the metadata of every row."""
        yield from self._connection.execute("SELECT id, metadata FROM rows")

    def find(self, keys: Sequence[int]) -> dict[int, tuple[Any, Any]]:
        """Ids and metadata by key; a file of somebody else may hold other values than text."""
        result = self._found("SELECT key, id, metadata FROM rows WHERE key IN", [key for key in keys if key <= LARGEST_KEY])
        return {key: (name, metadata) for key, name, metadata in result}

    def _found(self, select: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(values), TOGETHER):
            part = values[start : start + TOGETHER]
            with self._disk():
                found = self._connection.execute(f"{select} ({','.join('?' * len(part))})", part).fetchall()
            yield from found

    def commit(self) -> None:
        with self._disk():
            self._connection.execute("COMMIT")
        self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Raise ``OSError`` for a full disk and ``UserError`` for a damaged file, which SQLite reports with errors of its own."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from None
            raise UserError(f"{self._path} cannot be read ({error}); {AGAIN}") from None
