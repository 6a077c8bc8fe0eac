"""Cached features: values that a frozen encoder has already encoded, read from a file."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from braid.errors import UserError
from braid.media import Clip
from braid.records import Padded
from braid.shapes import Bool, Float16

Encoded = tuple[Float16[np.ndarray, "positions width"], Bool[np.ndarray, " positions"]]


@dataclass(frozen=True)
class EncodedModality:
    """The path or the bytes of an image -> its features, which ``made`` identifies.

    ``values`` [images, positions, width] float16 and ``masks`` [images, positions] bool are plain arrays on disk. ``places`` maps
    the ``key_of`` a value to its row, ``skipped`` to the reason why it has no features. ``views`` maps it to the rows of its
    augmented versions, of which training draws one.
    """

    config: Any
    values: Path
    masks: Path
    shape: tuple[int, int, int]
    places: Mapping[str, int]
    skipped: Mapping[str, str]
    made: str
    views: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    shared: ClassVar[bool] = True

    @property
    def augments(self) -> bool:
        return bool(self.views)

    @staticmethod
    def key_of(value: Any, source: str = "") -> str:
        """The real path of a file, or a hash of bytes; of a part, with its seconds.

        Raises:
            UserError: for a value that is neither.
        """
        if isinstance(value, Clip):
            return f"{EncodedModality.key_of(value.file, source)}#{value.start}-{value.end}"
        if isinstance(value, str | os.PathLike):
            return os.path.realpath(value)
        if isinstance(value, bytes):
            return hashlib.sha1(value, usedforsecurity=False).hexdigest()
        raise UserError(f"{source}: cache_features needs images in files, and this one is in memory; remove cache_features")

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> Encoded:
        """Read the features of one image; with ``rng``, of one of its augmented versions if it has any.

        Raises:
            UserError: with the reason why the image could not be read.
        """
        key = self.key_of(value, source)
        if key in self.skipped:
            raise UserError(self.skipped[key])
        place = self.places[key]
        if rng is not None and key in self.views:
            place = int(rng.choice(self.views[key]))
        values = _mapped(self.values, self.shape, "float16", self.made)
        return values[place], _mapped(self.masks, self.shape[:2], "bool", self.made)[place]

    def size_of(self, value: Any) -> int:
        return 0

    def pad(self, values: Sequence[Encoded]) -> Padded:
        """Stack features: ``values [n, positions, width]`` float32, ``mask [n, positions]``."""
        return Padded(np.stack([one for one, _ in values]).astype(np.float32), np.stack([mask for _, mask in values]))


@cache
def _mapped(path: Path, shape: tuple[int, ...], kind: str, made: str) -> np.ndarray:
    """Map a file, once per process and ``made``; the system's cache holds its pages."""
    return np.memmap(path, kind, "r", shape=shape)
