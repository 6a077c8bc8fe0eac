"""Pictures that a frozen encoder has seen already: what it made of each is read from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os.path import realpath
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from braid.errors import UserError
from braid.records import Padded
from braid.shapes import Bool, Float16

Encoded = tuple[Float16[np.ndarray, "positions width"], Bool[np.ndarray, " positions"]]


@dataclass(frozen=True)
class EncodedModality:
    """A picture's path, however it is written -> its features.

    ``values`` [pictures, positions, width] float16 and ``masks`` [pictures, positions] bool are plain arrays on disk; ``places``
    says which row is whose, ``broken`` why a picture has none. ``made`` tells these files from others that were at the same path.
    """

    config: Any
    values: Path
    masks: Path
    shape: tuple[int, int, int]
    places: Mapping[str, int]
    skipped: Mapping[str, str]
    made: str

    augments: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> Encoded:
        """Raises: UserError: the reason for which the picture could not be read."""
        path = realpath(value)
        if path in self.skipped:
            raise UserError(self.skipped[path])
        place = self.places[path]
        values = _mapped(self.values, self.shape, "float16", self.made)
        return values[place], _mapped(self.masks, self.shape[:2], "bool", self.made)[place]

    def size_of(self, value: Any) -> int:
        return 0

    def pad(self, values: Sequence[Encoded]) -> Padded:
        """Stack features: ``values [n, positions, width]`` float32, ``mask [n, positions]``."""
        return Padded(np.stack([one for one, _ in values]).astype(np.float32), np.stack([mask for _, mask in values]))


@cache
def _mapped(path: Path, shape: tuple[int, ...], kind: str, made: str) -> np.ndarray:
    """Opened once a process for each ``made``; pages come and go with the system's cache."""
    return np.memmap(path, kind, "r", shape=shape)
