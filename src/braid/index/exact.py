"""Exact search: compares a query with every vector in a memory-mapped file, in the chosen precision."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.index.local import Found, Header, LocalIndex
from braid.index.protocol import AGAIN, Storage, are_units, needed, stored
from braid.shapes import Float32, UInt64

TYPES = {"float32": "<f4", "float16": "<f2", "int8": "i1"}
ROWS = 16_384  # compared at once
QUERIES = 64


@dataclass(frozen=True)
class ExactIndexConfig:
    """Compares a query with every vector, so it finds the nearest always.

    Args:
        storage: the precision of the vectors; float16 halves float32 with the same order of hits, int8 halves it again.
    """

    kind: Literal["exact"] = "exact"
    storage: Storage = "float16"

    file: ClassVar[str] = "vectors.bin"

    needs: ClassVar[tuple[str, str]] = ("numkong", "search")  # the package, and the extra that installs it

    def build(self, folder: Path, header: Header) -> LocalIndex:
        return LocalIndex(folder, header, self)

    def mapped(self, path: Path, width: int) -> "ExactVectors":
        vectors = ExactVectors(path, self.storage, width)
        if not vectors.are_units():
            raise UserError(f"{path} is damaged (a vector is not of length 1); {AGAIN}")
        return vectors

    def changing(self, old: Path | None, path: Path, width: int) -> "ExactVectors":
        copyfile(old, path) if old else path.touch()
        return ExactVectors(path, self.storage, width)


class ExactVectors:
    """Rows of a key and a vector, in ascending order of keys."""

    def __init__(self, path: Path, storage: Storage, width: int) -> None:
        self._path, self._storage = path, storage
        self._type = np.dtype([("key", "<u8"), ("vector", TYPES[storage], (width,))])
        self._kernels = needed("numkong", "search")
        self._map()

    def __len__(self) -> int:
        return len(self._rows)

    def are_units(self) -> bool:
        return are_units(self._rows["vector"]) if len(self) else True

    def search(self, queries: Float32[np.ndarray, "n width"], top: int) -> Found:
        kept = stored(queries, self._storage)
        return [result for first in range(0, len(kept), QUERIES) for result in self._nearest(kept[first : first + QUERIES], top)]

    def _nearest(self, queries: np.ndarray, top: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Compare the rows in blocks, and keep the best rows after each block."""
        distances: np.ndarray = np.empty((len(queries), 0))
        keys: np.ndarray = np.empty((len(queries), 0), dtype=np.uint64)
        for first in range(0, len(self), ROWS):
            part = self._rows[first : first + ROWS]
            result = np.asarray(self._kernels.cdist(queries, part["vector"], "angular"))
            distances = np.concatenate([distances, result], axis=1)
            keys = np.concatenate([keys, np.broadcast_to(part["key"], result.shape)], axis=1)
            if keys.shape[1] > top:
                best = np.argpartition(distances, top - 1, axis=1)[:, :top]
                distances, keys = (np.take_along_axis(values, best, axis=1) for values in (distances, keys))
        order = np.lexsort((keys, distances))
        return zip(np.take_along_axis(keys, order, 1), 1 - np.take_along_axis(distances, order, 1), strict=True)

    def add(self, keys: UInt64[np.ndarray, " n"], vectors: Float32[np.ndarray, "n width"]) -> None:
        fresh = np.empty(len(keys), self._type)
        fresh["key"], fresh["vector"] = keys, stored(vectors, self._storage)
        with open(self._path, "ab") as file:
            file.write(fresh.tobytes())
        self._map()

    def remove(self, keys: UInt64[np.ndarray, " n"]) -> None:
        """Close the gaps block by block, then cut the file."""
        if not len(keys):
            return
        rows, kept = np.memmap(self._path, self._type, "r+"), 0
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            left = part[~np.isin(part["key"], keys)]
            rows[kept : kept + len(left)] = left
            kept += len(left)
        rows.flush()
        del rows, self._rows
        os.truncate(self._path, kept * self._type.itemsize)
        self._map()

    def write(self) -> None:
        """Do nothing: the file already has every change."""

    def _map(self) -> None:
        size = self._path.stat().st_size
        if size % self._type.itemsize:
            raise UserError(f"{self._path} holds no whole number of vectors; {AGAIN}")
        self._rows = np.memmap(self._path, self._type, "r") if size else np.empty(0, self._type)
