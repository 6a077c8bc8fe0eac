"""What an output says that is no text: one of several labels, several of them, a number, or a point among others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.records import Padded


@dataclass(frozen=True)
class LabelsModalityConfig:
    """``labels`` in the order of a model's classes; a run that gives none takes those of its training rows.

    ``most``: of those, at most so many, the commonest; rows of any other teach nothing. 0 takes all. ``multiple``: a row may
    have several labels, or none of them.
    """

    kind: Literal["labels"] = "labels"
    labels: tuple[str, ...] = ()
    most: int = 0
    multiple: bool = False

    name: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "most")
        if self.most == 1:
            raise UserError("most is 1; a classifier needs two labels or more, or 0 for all")
        twice = [label for place, label in enumerate(self.labels) if label in self.labels[:place]]
        if twice:
            raise UserError(f"labels names {twice[0]!r} twice; name each label once")

    def build(self, tokenizer: object = None) -> "LabelsModality":
        return LabelsModality(self)


class LabelsModality:
    """A label -> its place, or several labels -> a 1 at each of their places."""

    def __init__(self, config: LabelsModalityConfig) -> None:
        self.config = config
        self._places = {label: place for place, label in enumerate(config.labels)}

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.labels

    def targets(self, values: Sequence[Sequence[str]], sources: Sequence[str]) -> Padded:
        """The labels of each row: ``values [n]`` (place) or [n, labels] (0 or 1), ``mask [n]``.

        A row whose label training never showed is masked out: there is nothing that a model could have said.

        Raises:
            UserError: for a row with several labels where one is meant.
        """
        if self.config.multiple:
            marks = np.zeros((len(values), len(self.labels)), np.float32)
            for row, given in enumerate(values):
                marks[row, [self._places[label] for label in given if label in self._places]] = 1
            return Padded(marks, np.ones(len(values), bool))
        for given, source in zip(values, sources, strict=True):
            if len(given) != 1:
                raise UserError(f"{source}: {len(given)} labels, and this model gives one; train one on rows that have several")
        places = np.array([self._places.get(given[0], -1) for given in values], np.int64)
        return Padded(np.maximum(places, 0), places >= 0)


@dataclass(frozen=True)
class NumberModalityConfig:
    """A quantity. A model learns (value - ``mean``) / ``deviation``, which a run takes from its training rows unless given."""

    kind: Literal["number"] = "number"
    mean: float = 0.0
    deviation: float = 0.0

    name: ClassVar[str] = "number"

    def build(self, tokenizer: object = None) -> "NumberModality":
        return NumberModality(self)


class NumberModality:
    """A number <-> its distance from the mean in standard deviations."""

    def __init__(self, config: NumberModalityConfig) -> None:
        self.config = config
        self._unit = config.deviation or 1.0

    def targets(self, values: Sequence[float], sources: Sequence[str]) -> Padded:
        """``values [n]`` float32, ``mask [n]``."""
        scaled = (np.array(values, np.float64) - self.config.mean) / self._unit
        return Padded(scaled.astype(np.float32), np.ones(len(values), bool))

    def value(self, output: float) -> float:
        return self.config.mean + self._unit * output


@dataclass(frozen=True)
class EmbeddingModalityConfig:
    """A point on the unit sphere, near to those of things that belong together."""

    kind: Literal["embedding"] = "embedding"

    name: ClassVar[str] = "embedding"

    def build(self, tokenizer: object = None) -> "EmbeddingModality":
        return EmbeddingModality(self)


class EmbeddingModality:
    """What belongs together has one key; a key -> a number."""

    def __init__(self, config: EmbeddingModalityConfig) -> None:
        self.config = config

    def targets(self, values: Sequence[Any], sources: Sequence[str]) -> Padded:
        """Equal numbers for equal keys: ``values [n]`` int64, ``mask [n]``."""
        keys = np.array([crc32(str(value).encode()) for value in values], np.int64)
        return Padded(keys, np.ones(len(values), bool))
