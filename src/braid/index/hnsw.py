"""Approximate search in a graph of near neighbours: HNSW (arXiv:1603.09320), by usearch."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from braid.config import within
from braid.environment import threads
from braid.errors import UserError
from braid.files import utf8_path
from braid.index.graph import check_graph
from braid.index.local import Found, Header, LocalIndex
from braid.index.protocol import AGAIN, Storage, needed, stored
from braid.shapes import Float32, UInt64

TYPES = {"float32": "f32", "float16": "f16", "int8": "i8"}


@dataclass(frozen=True)
class HnswIndexConfig:
    """Nearly always the nearest, in a fraction of the time.

    Args:
        storage: the precision of the vectors in the graph.
        connectivity: neighbours that a vector keeps (M in the paper); more finds more and takes more memory.
        expansion_add: candidates looked at for a new vector (efConstruction); more makes a better graph, slower.
        expansion_search: candidates looked at in a search (ef), ``top`` at least; more finds more, slower.
    """

    kind: Literal["hnsw"] = "hnsw"
    storage: Storage = "float16"
    connectivity: int = 16
    expansion_add: int = 128
    expansion_search: int = 64

    file: ClassVar[str] = "vectors.usearch"

    def __post_init__(self) -> None:
        within(self, 2, 512, "connectivity")
        within(self, 1, 100_000, "expansion_add", "expansion_search")

    needs: ClassVar[tuple[str, str]] = ("usearch", "search")  # the package, and the extra that installs it

    def build(self, folder: Path, header: Header) -> LocalIndex:
        return LocalIndex(folder, header, self)

    def mapped(self, path: Path, width: int) -> "HnswVectors":
        graph = self._graph(width)
        check_graph(path, graph.save(), self.storage)
        try:
            with utf8_path(path) as reachable:
                graph.view(reachable)
        except RuntimeError as error:
            raise UserError(f"usearch cannot read {path} ({error}); {AGAIN}") from None
        return HnswVectors(graph, self.storage, path)

    def changing(self, old: Path | None, path: Path, width: int) -> "HnswVectors":
        graph = self._graph(width)
        if old is not None:
            with utf8_path(old) as reachable:
                graph.load(reachable)
        return HnswVectors(graph, self.storage, path)

    def _graph(self, width: int) -> Any:
        return needed("usearch.index", "search").Index(
            ndim=width,
            metric="cos",
            dtype=TYPES[self.storage],
            connectivity=self.connectivity,
            expansion_add=self.expansion_add,
            expansion_search=self.expansion_search,
        )


class HnswVectors:
    """usearch's graph: memory-mapped for reading, loaded into memory for changes."""

    def __init__(self, graph: Any, storage: Storage, path: Path) -> None:
        self.graph = graph
        self._storage, self._path = storage, path

    def __len__(self) -> int:
        return len(self.graph)

    def search(self, queries: Float32[np.ndarray, "n width"], top: int) -> Found:
        result = self.graph.search(stored(queries, self._storage), top, threads=threads())
        return [(one.keys, 1 - one.distances) for one in ([result] if len(queries) == 1 else result)]

    def add(self, keys: UInt64[np.ndarray, " n"], vectors: Float32[np.ndarray, "n width"]) -> None:
        try:
            self.graph.add(keys, stored(vectors, self._storage), threads=threads())
        except RuntimeError as error:
            raise UserError(f"usearch cannot change {self._path.name} ({error}); {AGAIN}") from None

    def remove(self, keys: UInt64[np.ndarray, " n"]) -> None:
        self.graph.remove(keys, threads=threads())

    def write(self) -> None:
        try:
            with utf8_path(self._path) as reachable:
                self.graph.save(reachable)
        except RuntimeError:  # its message does not say why
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from None
