"""What the tests of indexes share: vectors, and small indexes of every kind."""

from pathlib import Path

import numpy as np
import pytest

from braid.index import Index, IndexConfig, LanceDBIndexConfig, Origin, create_index
from variants import INDEXES

WIDTH = 32
MODEL = Origin("toy", "0123456789abcdef")

every_index = pytest.mark.parametrize("config", INDEXES.values(), ids=INDEXES)
local = {name: config for name, config in INDEXES.items() if not isinstance(config, LanceDBIndexConfig)}
every_local_index = pytest.mark.parametrize("config", local.values(), ids=local)


def vectors(number: int, seed: int = 0, width: int = WIDTH) -> np.ndarray:
    """Of any length, in clusters, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((20, width))
    return (3 * (centres[rng.integers(0, 20, number)] + rng.standard_normal((number, width)))).astype(np.float32)


def cosines(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (queries @ rows.T) / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(rows, axis=1)


def made(folder: Path, config: IndexConfig, number: int = 300) -> Index:
    """Rows ``0``, ``1``, ... with the squares of their numbers as metadata."""
    index = create_index(folder, config, WIDTH, MODEL)
    index.add([str(k) for k in range(number)], vectors(number), [{"square": k * k} for k in range(number)])
    index.save()
    return index


def result(index: Index, queries: np.ndarray, top: int = 10) -> list[list[str]]:
    return [[hit.id for hit in hits] for hits in index.search(queries, top)]
