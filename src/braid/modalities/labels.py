"""Outputs other than texts and images: labels, a number, or an embedding."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.modalities.protocol import Does
from braid.records import Padded

MOST_NUMBERS = 20  # the most classes whose names may be decimal numbers


@dataclass(frozen=True)
class LabelsModalityConfig:
    """Labels, one or several a row.

    Args:
        labels: in the order of the model's classes; without any, a run takes those of its training rows.
        most: keep only so many of them, the commonest; rows of any other are not trained on; 0 keeps all.
        multiple: a row may have several labels, or none.
    """

    kind: Literal["labels"] = "labels"
    labels: tuple[str, ...] = ()
    most: int = 0
    multiple: bool = False

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "most")
        if self.most == 1:
            raise UserError("most is 1; a classifier needs two labels or more, or 0 for all")
        if len(self.labels) == 1 and not self.multiple:
            raise UserError(f"labels has only {self.labels[0]!r}; a classifier needs two labels or more")
        twice = [label for place, label in enumerate(self.labels) if label in self.labels[:place]]
        if twice:
            raise UserError(f"labels lists {twice[0]!r} twice; list each label once")

    def fitted(self, values: Iterable[Sequence[str]], several: bool = False) -> "LabelsModalityConfig":
        """The config with the labels of the training rows, if none are set.

        Args:
            several: a row may have more than one label.
        Raises:
            UserError: when there are fewer than two labels, or so many decimal numbers that they must be quantities.
        """
        multiple = self.multiple or several
        if self.labels:
            return replace(self, multiple=multiple)
        rows = Counter(label for value in values for label in value)
        labels = sorted(rows)
        if len(labels) < 2:
            only = f" but {labels[0]!r}" if labels else ""
            raise UserError(f"no row has a label{only}; a classifier needs two labels or more")
        if len(labels) > MOST_NUMBERS and _are_quantities(labels):
            message = f"the label has {len(labels)} values, all of them numbers ({labels[0]}, {labels[1]}, ...)"
            raise UserError(f"{message}; choose --task regression, or name the classes in outputs.label.labels")
        kept = {label for label, _ in rows.most_common(self.most or None)}
        return replace(self, labels=tuple(label for label in labels if label in kept), multiple=multiple)

    def in_use(self) -> "LabelsModalityConfig":
        return self

    def summary(self) -> str:
        return f"{'any' if self.multiple else 'one'} of {len(self.labels)} labels"

    def build(self, tokenizer: object = None) -> "LabelsModality":
        return LabelsModality(self)


class LabelsModality:
    """A label -> its index, or several labels -> a multi-hot vector."""

    does: ClassVar[Does] = "gives labels, a number or an embedding"
    augments: ClassVar[bool] = False

    def __init__(self, config: LabelsModalityConfig) -> None:
        self.config = config
        self._places = {label: place for place, label in enumerate(config.labels)}

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.labels

    def prepare_target(self, value: Sequence[str], source: str, rng: np.random.Generator | None = None) -> list[int]:
        """The indices of a row's labels; -1 for a label that training did not have.

        Raises:
            UserError: for a row with several labels, if the model gives one.
        """
        if len(value) != 1 and not self.config.multiple:
            raise UserError(
                f"{source}: {len(value)} labels, but this model predicts one; train a model on rows with several labels"
            )
        return [self._places.get(label, -1) for label in value]

    def pad_targets(self, values: Sequence[Sequence[int]]) -> Padded:
        """``values [n]`` (index) or [n, labels] (0 or 1), ``mask [n]``.

        The mask is False for a row whose label training did not have.
        """
        if self.config.multiple:
            marks = np.zeros((len(values), len(self.labels)), np.float32)
            for row, given in enumerate(values):
                marks[row, [place for place in given if place >= 0]] = 1
            return Padded(marks, np.ones(len(values), bool))
        places = np.array([place for (place,) in values], np.int64)
        return Padded(np.maximum(places, 0), places >= 0)


def _are_quantities(labels: Sequence[str]) -> bool:
    """Whether all labels are numbers, and not all are integers."""
    try:
        return not all(float(label).is_integer() for label in labels)
    except ValueError:
        return False


@dataclass(frozen=True)
class NumberModalityConfig:
    """A number. A model learns (value - ``mean``) / ``deviation``.

    Args:
        mean: subtracted from the value; a run takes it from the training rows.
        deviation: divides it; 0 takes that of the training rows, too.
    """

    kind: Literal["number"] = "number"
    mean: float = 0.0
    deviation: float = 0.0

    def fitted(self, values: Iterable[float], several: bool = False) -> "NumberModalityConfig":
        """The config with the mean and the standard deviation of the training rows, unless they are set."""
        if self.deviation:
            return self
        numbers = np.fromiter(values, np.float64)
        return replace(self, mean=float(numbers.mean()), deviation=float(numbers.std()) or 1.0)

    def in_use(self) -> "NumberModalityConfig":
        return self

    def summary(self) -> str:
        return "one number"

    def build(self, tokenizer: object = None) -> "NumberModality":
        return NumberModality(self)


class NumberModality:
    """A number <-> its standardised value."""

    does: ClassVar[Does] = "gives labels, a number or an embedding"
    augments: ClassVar[bool] = False

    def __init__(self, config: NumberModalityConfig) -> None:
        self.config = config
        self._unit = config.deviation or 1.0

    def prepare_target(self, value: float, source: str, rng: np.random.Generator | None = None) -> float:
        return value

    def pad_targets(self, values: Sequence[float]) -> Padded:
        """``values [n]`` float32, ``mask [n]``."""
        scaled = (np.array(values, np.float64) - self.config.mean) / self._unit
        return Padded(scaled.astype(np.float32), np.ones(len(values), bool))

    def value(self, output: float) -> float:
        return self.config.mean + self._unit * output


@dataclass(frozen=True)
class EmbeddingModalityConfig:
    """A unit vector that is close to the vectors of matching values."""

    kind: Literal["embedding"] = "embedding"

    def fitted(self, values: Iterable[Any], several: bool = False) -> "EmbeddingModalityConfig":
        return self

    def in_use(self) -> "EmbeddingModalityConfig":
        return self

    def summary(self) -> str:
        return "a vector of length 1"

    def build(self, tokenizer: object = None) -> "EmbeddingModality":
        return EmbeddingModality(self)


class EmbeddingModality:
    """A key that matching values share -> a number."""

    does: ClassVar[Does] = "gives labels, a number or an embedding"
    augments: ClassVar[bool] = False

    def __init__(self, config: EmbeddingModalityConfig) -> None:
        self.config = config

    def prepare_target(self, value: Hashable, source: str, rng: np.random.Generator | None = None) -> int:
        """Equal numbers for equal keys."""
        return crc32(str(value).encode(errors="surrogatepass"))

    def pad_targets(self, values: Sequence[int]) -> Padded:
        """``values [n]`` int64, ``mask [n]``."""
        keys = np.array(values, np.int64)
        return Padded(keys, np.ones(len(values), bool))
