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
from braid.shapes import UInt64

TOGETHER = 500  # values per query


class Rows:
    """Maps a key to an id and metadata. Keys increase from row to row, and each key belongs to a vector. Ids are unique."""

    def __init__(self, path: Path) -> None:
        """Open a file for reading. It is never changed, so it needs no locks, and may be replaced while it is open."""
        self._path = path
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )

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
            rows._connection.execute(
                "CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, metadata TEXT NOT NULL)"
            )
        return rows

    def add(self, ids: Sequence[str], metadata: Sequence[str]) -> UInt64[np.ndarray, " n"]:
        """Add rows, all or none, and return their keys.

        Raises:
            UserError: naming an id that exists already.
        """
        (last,) = self._connection.execute("SELECT max(key) FROM rows").fetchone()
        first = 0 if last is None else last + 1
        with self._disk():
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

    def find(self, keys: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Ids and metadata by key."""
        result = self._found("SELECT key, id, metadata FROM rows WHERE key IN", keys)
        return {key: (name, metadata) for key, name, metadata in result}

    def _found(self, select: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(values), TOGETHER):
            part = values[start : start + TOGETHER]
            yield from self._connection.execute(f"{select} ({','.join('?' * len(part))})", part).fetchall()

    def commit(self) -> None:
        with self._disk():
            self._connection.execute("COMMIT")
        self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Raise ``OSError`` for a full disk, which SQLite reports with an error of its own."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from None
