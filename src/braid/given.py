"""One value or several, as callers of the Python API give them: lists, tuples, sets, generators, arrays, Series."""

import os
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from braid.errors import UserError

_PART = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?:,|\Z)|([^,]*)(?:,|\Z)', re.DOTALL)  # in quotes, or up to a comma
IMAGE_AXES = (2, 3)  # of an array that is one image: [height, width] or [height, width, channels]
CLIP_AXES = 4  # of an array of images: [frames, height, width, channels]


def is_one(values: Any) -> bool:
    """Whether ``values`` is one value: a text, a path, bytes, a dict, an image, an array of one image,
    samples with their rate, or no container at all."""
    if isinstance(values, str | bytes | bytearray | memoryview | os.PathLike | Mapping) or hasattr(values, "read"):
        return True
    if hasattr(values, "_fields"):  # a named tuple is one record
        return True
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[1], Real) and not is_one(values[0]):
        return True
    return getattr(values, "ndim", 1) in (0, *IMAGE_AXES) or not hasattr(values, "__iter__")


def several(values: Any, frames: bool = False) -> list[Any]:
    """The values of any container; one value is a list of itself, never its letters, its rows of pixels or its samples.

    Args:
        frames: an array of images is one value: a clip.
    """
    if values is None:
        return []
    if is_one(values) or (frames and getattr(values, "ndim", 0) == CLIP_AXES):
        return [values]
    return list(values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values)


def several_rows(rows: Any) -> list[Mapping[str, Any]]:
    """Rows of values by name, in any container; one row is a list of itself.

    Raises:
        UserError: for a row that is no mapping.
    """
    result = several(rows)
    for number, row in enumerate(result, 1):
        if not isinstance(row, Mapping):
            raise UserError(f"row {number} is of type {type(row).__name__}; write its values by name: {{'image': 'dog.jpg'}}")
    return result


def given_values(**values: Any) -> dict[str, Any]:
    """The values that were given, by name: neither None nor an empty text."""
    return {name: value for name, value in values.items() if value is not None and not (isinstance(value, str) and not value)}


def between_commas(text: str) -> list[str]:
    """The parts of a text that is split at commas, without white space around them and without empty ones; a part with a comma
    stands in quotes, as in CSV."""
    parts = (match[2] if match[1] is None else match[1].replace('""', '"') for match in _PART.finditer(text))
    return [stripped for part in parts if (stripped := part.strip())]
