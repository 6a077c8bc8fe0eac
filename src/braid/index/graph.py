"""The file of a graph of usearch, checked before usearch follows it: usearch trusts every number in it.

The file is a matrix (``rows``, bytes of a row, the rows), a header, the level of every node, and the nodes. A node is its key,
its level, and a list of neighbours for each level from 0 up; a list is a count and room for the most neighbours.
"""

from pathlib import Path

import numpy as np

from braid.errors import UserError
from braid.index.protocol import AGAIN, Storage, are_units

HEADER = np.dtype(
    [
        ("magic", "S7"),
        ("version", "<u2", 3),
        ("kinds", "V4"),  # metric, number type, key type, slot type
        ("present", "<u8"),
        ("deleted", "<u8"),
        ("width", "<u8"),
        ("multi", "u1"),
        ("unused", "V22"),
        ("size", "<u8"),
        ("connectivity", "<u8"),
        ("base", "<u8"),  # neighbours on level 0
        ("max_level", "<u8"),
        ("entry", "<u8"),
    ]
)
SETTINGS = ["kinds", "width", "multi", "connectivity", "base"]
FREE = np.uint64(2**64 - 1)  # the key of a deleted node
HIGHEST = 127  # a level; random levels stay far below
NODE = np.dtype([("key", "<u8"), ("level", "<i2")])
LISTS = 16_384  # checked at once


def check_graph(path: Path, empty: bytes | bytearray, storage: Storage) -> None:
    """Check every number that usearch uses as a position.

    Args:
        empty: what usearch writes for an empty graph of the same settings.
    Raises:
        UserError: when the file has other settings, or a number in it leads out of it.
    """
    try:
        _check(np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8), empty, storage)
    except _OtherSettings:
        raise UserError(f"{path} holds other vectors than index.json says; {AGAIN}") from None
    except _Damaged as error:
        raise UserError(f"{path} is damaged ({error}); {AGAIN}") from None


class _Damaged(Exception):
    """What is wrong with a file."""


class _OtherSettings(Exception):
    """The file is of an index with other settings."""


def _need(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise _Damaged(otherwise)


def _check(data: np.ndarray, empty: bytes | bytearray, storage: Storage) -> None:
    wanted_bytes, wanted, _ = _start(np.frombuffer(empty, np.uint8))
    row_bytes, header, place = _start(data)
    if row_bytes != wanted_bytes or header[SETTINGS].item() != wanted[SETTINGS].item():
        raise _OtherSettings
    size, rows = int(header["size"]), int(data[:4].view("<u4")[0])
    _need(size == rows == int(header["present"]) + int(header["deleted"]), "its counts differ")
    _need(place + 2 * size <= len(data), "it is cut short")
    levels = data[place : place + 2 * size].view("<i2").astype(np.int64)
    _need(not size or (levels.min() >= 0 and levels.max() <= HIGHEST), "a level is out of range")
    base, connectivity = int(header["base"]), int(header["connectivity"])
    sizes = NODE.itemsize + _list_size(base) + _list_size(connectivity) * levels
    places = place + 2 * size + np.cumsum(sizes) - sizes
    _need(place + 2 * size + int(sizes.sum()) == len(data), "its size differs from its levels")
    if size:
        entry = int(header["entry"])
        _need(entry < size and levels[entry] == levels.max() == int(header["max_level"]), "its entry is out of range")
        vectors = data[8 : 8 + rows * row_bytes].view(np.dtype(storage)).reshape(rows, -1)
        _need(are_units(vectors), "a vector is not of length 1")
        keys = _check_nodes(data, levels, places)
        _need(len(keys) == int(header["present"]), "its counts differ")
        _need((keys[1:] != keys[:-1]).all(), "a key is there twice")
        _check_lists(data, places + NODE.itemsize, base, levels, 0)
        for level in range(1, int(levels.max()) + 1):
            there = places[levels >= level] + NODE.itemsize + _list_size(base) + (level - 1) * _list_size(connectivity)
            _check_lists(data, there, connectivity, levels, level)


def _start(data: np.ndarray) -> tuple[int, np.void, int]:
    """Bytes of a row, the header, and the place after it."""
    _need(len(data) >= 8 + HEADER.itemsize, "it is cut short")
    rows, row_bytes = map(int, data[:8].view("<u4"))
    place = 8 + rows * row_bytes
    _need(place + HEADER.itemsize <= len(data), "it is cut short")
    header = data[place : place + HEADER.itemsize].view(HEADER)[0]
    _need(header["magic"] == b"usearch", "it is no graph of usearch")
    return row_bytes, header, place + HEADER.itemsize


def _list_size(most: int) -> int:
    return 4 + 4 * most


def _check_nodes(data: np.ndarray, levels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The keys of the nodes that are not deleted, sorted."""
    nodes = _at(data, NODE, places)
    _need((nodes["level"] == levels).all(), "a node has another level")
    return np.sort(nodes["key"][nodes["key"] != FREE])


def _check_lists(data: np.ndarray, places: np.ndarray, most: int, levels: np.ndarray, level: int) -> None:
    """Check the lists of one level: their neighbours exist on that level."""
    for first in range(0, len(places), LISTS):
        part = places[first : first + LISTS]
        counts = _at(data, np.dtype("<u4"), part)
        slots = _at(data, np.dtype(("<u4", (most,))), part + 4)
        _need(counts.max() <= most, "a node has too many neighbours")
        if not level and slots.max() < len(levels):
            continue  # as a rule, the room that is not used holds no larger numbers
        used = slots[np.arange(most) < counts[:, None]]
        _need((used < len(levels)).all(), "a neighbour is out of range")
        _need((levels[used] >= level).all(), "a neighbour is not on its level")


def _at(data: np.ndarray, kind: np.dtype, places: np.ndarray) -> np.ndarray:
    """The values at these places, which may be any byte."""
    raw = np.ndarray(len(data) - kind.itemsize + 1, f"V{kind.itemsize}", data, strides=(1,))[places]
    return raw.view(kind.base).reshape(len(places), *kind.shape)
