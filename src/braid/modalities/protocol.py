"""The protocol of a modality: everything that the rest of Braid needs, so that a new modality is one folder and one line.

A modality has two sides. Its *config* (a frozen dataclass, saved in ``interface.json``) handles raw values: table cells, files,
JSON, display. The modality that the config *builds* turns raw values into arrays: ``prepare`` one value, ``pad`` many.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, UInt8


@dataclass(frozen=True)
class TokenGrid:
    """``rows`` x ``columns`` tokens in row-major order, each in 0 .. ``codes`` - 1.

    A token may combine several codes: it is then a number with mixed radix ``parts``, the lowest digit first.
    """

    rows: int
    columns: int
    parts: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.rows * self.columns

    @property
    def codes(self) -> int:
        return math.prod(self.parts)

    @property
    def places(self) -> tuple[int, ...]:
        """The place value of each part in a token."""
        return tuple(math.prod(self.parts[:part]) for part in range(len(self.parts)))


@runtime_checkable
class InputConfig(Protocol):
    """The settings of a modality, and its handling of raw values.

    ``columns``: usual names of its column in a table; the role is the modality's ``kind``. ``suffixes``: file suffixes; empty for
    a modality without files. ``input_name``: the default name of an input. ``parts``: whether a role may map to several columns
    (``tabular=price+brand``). ``timed``: a value may be a part of a file, a ``braid.media.Clip``; the table columns ``start`` and
    ``end`` then say which.
    """

    @property
    def kind(self) -> str: ...

    columns: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[frozenset[str]]
    input_name: ClassVar[str]
    parts: ClassVar[bool]
    timed: ClassVar[bool]

    def build(self, tokenizer: Any = None) -> "InputModality": ...

    def fitted(self, values: Iterable[Any], several: bool = False) -> Any:
        """The config fitted on the training values (means, categories, labels); settings that are given stay.

        Args:
            several: a row may have several labels.
        Raises:
            UserError: when the values do not allow it.
        """
        ...

    def cheaper(self) -> Any:
        """The config of an input that costs less to encode, for a first model; the same config where there is none."""
        ...

    def augmenting(self) -> Any:
        """The config with its usual augmentation; the same config where there is none."""
        ...

    def in_use(self) -> Any:
        """The config without settings that only training uses, such as augmentation."""
        ...

    def summary(self) -> str:
        """A short description of the model's input, such as its shape."""
        ...

    def fields(self) -> list[dict[str, Any]]:
        """The form fields for one value: ``{"name", "type", "choices"}``; ``type`` is file, text, number or choice."""
        ...

    @staticmethod
    def key(value: Any) -> Hashable:
        """A key that equal values share; batches, duplicate checks, splits, leak checks and retrieval use it."""
        ...

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> Any:
        """The raw value from table cells, by column.

        Raises:
            Missing: when the cells are empty.
            UserError: naming the column, when it has another type.
        """
        ...

    @staticmethod
    def from_json(value: Any) -> Any:
        """The raw value from a request's JSON, or from a file's bytes for a modality with files.

        Raises:
            UserError: when it has another type.
        """
        ...

    @staticmethod
    def parse(text: str) -> Any:
        """The raw value from text that a user typed.

        Raises:
            UserError: when it cannot be read.
        """
        ...

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        """The value as file content: bytes and suffix. Only for modalities with files, which are checked for damage.

        Args:
            longest: maximum pixels a side; 0 keeps the size.
        Raises:
            UserError: naming the file that cannot be read.
        """
        ...

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        """A view of the value for a page; media has at most ``size`` pixels a side.

        Raises:
            UserError: when the value cannot be read.
        """
        ...

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> Any:
        """A damaged copy of the value that people could still partly recognise, for ``audit``."""
        ...


@runtime_checkable
class InputModality(Protocol):
    """Conversion of raw values to arrays. ``augments``: ``prepare`` changes values at random if it gets an ``rng``.

    ``shared``: equal values in a training batch are encoded once, even with augmentation.
    """

    @property
    def config(self) -> Any: ...

    @property
    def augments(self) -> bool: ...

    shared: ClassVar[bool]

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> Any:
        """Convert one raw value to arrays, with limits; with ``rng``, augment it. A modality with files returns a value that is
        already prepared unchanged, because the server prepares uploads early.

        Raises:
            UserError: naming the file or row, when it cannot be read.
        """
        ...

    def pad(self, values: Sequence[Any]) -> Padded:
        """Stack prepared values in one array; ``mask`` is True where real."""
        ...

    def missing(self) -> Any:
        """A prepared stand-in that no row uses, because exported graphs need every input."""
        ...

    def example(self) -> tuple[Padded, bool]:
        """Three example values for the export, and whether axes other than the first may vary."""
        ...

    def size_of(self, value: Any) -> int:
        """The length of a raw value, in any unit; rows of similar length are batched together."""
        ...

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """The units of the single value in ``given``; ``real`` and ``extent`` are the mask and the extent of its features."""
        ...

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Copies of the single value in ``given``, one per row of ``kept``, without the units that are not kept."""
        ...

    def canvas(self, value: Any, source: str, size: int) -> UInt8[np.ndarray, "height width 3"] | None:
        """The image that the units' boxes refer to, or whose width is the time that their ``times`` refer to, at most ``size``
        pixels a side; None if there is no such image."""
        ...


@runtime_checkable
class TimedModality(Protocol):
    """A modality whose units have ``times``, and whose model may read a part of a value only."""

    def seconds(self, value: Any, source: str, times: Float[np.ndarray, "units 2"]) -> Float[np.ndarray, "units 2"]:
        """The ``times`` of units of a value, in seconds from the beginning of its file."""
        ...

    def read(self, value: Any, source: str) -> Any:
        """The part of a value that the model reads, as a value that can be shown."""
        ...


Does = Literal["writes texts", "generates images", "gives labels, a number or an embedding"]


@runtime_checkable
class OutputModality(Protocol):
    """A modality of an output. ``does``: the kind of decoder that it needs."""

    @property
    def config(self) -> Any: ...

    does: ClassVar[Does]

    @property
    def augments(self) -> bool: ...

    def prepare_target(self, value: Any, source: str, rng: np.random.Generator | None = None) -> Any:
        """Convert one row's target to arrays.

        Raises:
            UserError: naming the row, when the value cannot be a target.
        """
        ...

    def pad_targets(self, values: Sequence[Any]) -> Padded:
        """Stack prepared targets in one array."""
        ...
