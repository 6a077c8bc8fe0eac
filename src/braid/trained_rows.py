"""The rows that a run was trained on, as hashes in its folder: so that a command can say how many of its rows are among them."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from braid.files import regular, whole
from braid.records import Sample
from braid.shapes import UInt64

FILE = "trained_rows.bin"  # in a run's folder, beside best/: the models that are passed on do not have it


def write_trained_rows(folder: Path, samples: Iterable[Sample], inputs: Mapping[str, Any]) -> None:
    """Write the hashes of the rows of a run.

    Args:
        inputs: the configs of the model's inputs, by name.
    """
    known = {one for sample in samples if (one := _identity(sample, inputs)) is not None}
    with whole(folder / FILE) as fresh:
        np.array(sorted(known), "<u8").tofile(fresh)


def count_trained(model: Path, samples: Iterable[Sample], inputs: Mapping[str, Any]) -> int:
    """How many rows a model was trained on; 0 if its run is not known.

    Args:
        model: the model's folder, in that of its run.
        inputs: the configs of the model's inputs, by name.
    """
    known = _read(model.parent / FILE)
    if not len(known):
        return 0
    asked = [one for sample in samples if (one := _identity(sample, inputs)) is not None]
    return int(np.isin(np.array(asked, np.uint64), known).sum())


def _read(path: Path) -> UInt64[np.ndarray, " rows"]:
    if not path.is_file():
        return np.empty(0, np.uint64)
    content = regular(path, math.inf).read_bytes()
    return np.frombuffer(content[: len(content) // 8 * 8], "<u8").astype(np.uint64)


def _identity(sample: Sample, inputs: Mapping[str, Any]) -> int | None:
    """A hash of what a row gives to the model; None if that cannot be told, as for images in memory. A file is known by its name
    and size, so that a data set may be moved."""
    parts = {name: _part(sample.inputs[name], config) for name, config in inputs.items() if name in sample.inputs}
    if not parts or None in parts.values():
        return None
    return int.from_bytes(blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).digest(), "little")


def _part(value: Any, config: Any) -> Any:
    if isinstance(value, bytes):
        return blake2b(value, digest_size=16).hexdigest()
    if isinstance(value, str):
        return [os.path.basename(value), _size(value)] if config.suffixes else value
    if isinstance(value, Mapping) and config.parts:
        names = [field["name"] for field in config.fields()]  # of columns that the model reads
        return [[name, str(value[name])] for name in names if value.get(name) is not None]
    return None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # a file inside an archive
        return -1
