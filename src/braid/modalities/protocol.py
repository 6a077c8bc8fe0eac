"""What a modality brings, so that it is one folder and one line: nothing else in Braid asks which modality a value has.

A modality has two sides. Its *config* (a frozen dataclass, saved in ``interface.json``) knows raw values: cells of a table,
files, JSON, what a page shows. What the config *builds* turns raw values into arrays: ``prepare`` one, ``pad`` many.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, UInt8


@runtime_checkable
class InputConfig(Protocol):
    """A modality's raw side, and its settings.

    ``columns``: the names that its column usually has in a table; the modality's ``kind`` is the role. ``suffixes``: endings of
    its files; a modality without any has no files. ``input_name``: what the input of a model is called by default.
    ``parts``: a role may be mapped to several columns (``tabular=price+brand``).
    """

    @property
    def kind(self) -> str: ...

    columns: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[frozenset[str]]
    input_name: ClassVar[str]
    parts: ClassVar[bool]

    def build(self, tokenizer: Any = None) -> "InputModality": ...

    def fitted(self, values: Iterable[Any], several: bool = False) -> Any:
        """With what has to be known of the training values (means, categories, labels); what is set already stays. ``several``:
        a row may have several labels.

        Raises:
            UserError: when the values do not allow for it.
        """
        ...

    def in_use(self) -> Any:
        """Without the settings that only training reads, such as augmentation."""
        ...

    def summary(self) -> str:
        """The shape of what a model reads, in a few words."""
        ...

    def fields(self) -> list[dict[str, Any]]:
        """The fields of a form for one value: ``{"name", "type", "choices"}``; ``type`` is file, text, number or choice."""
        ...

    @staticmethod
    def key(value: Any) -> Hashable:
        """Equal keys mean equal values: for batches, duplicates, splits, leaks and retrieval."""
        ...

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> Any:
        """The raw value in a table's cells, by column.

        Raises:
            Missing: when the cells are empty.
            UserError: naming the column, when it holds something else.
        """
        ...

    @staticmethod
    def from_json(value: Any) -> Any:
        """The raw value in a request's JSON (of a modality with files: in the file's bytes).

        Raises:
            UserError: when it is something else.
        """
        ...

    @staticmethod
    def parse(text: str) -> Any:
        """The raw value that a person typed.

        Raises:
            UserError: when it cannot be read.
        """
        ...

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        """The value as the bytes and the suffix of a file, checked to be whole; at most ``longest`` a side (0: as it is). Only of
        a modality with files.

        Raises:
            UserError: naming the file that cannot be read.
        """
        ...

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        """What a page shows of the value, media at most ``size`` pixels a side.

        Raises:
            UserError: when the value cannot be read.
        """
        ...

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> Any:
        """The value damaged so far that a person would still make something of it, for an audit."""
        ...


@runtime_checkable
class InputModality(Protocol):
    """A modality's prepared side. ``augments``: ``prepare`` changes values at random when it is given an ``rng``.

    ``shared``: equal values in a training batch are encoded once even where rows differ at random.
    """

    @property
    def config(self) -> Any: ...

    @property
    def augments(self) -> bool: ...

    shared: ClassVar[bool]

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> Any:
        """One raw value as arrays, within limits; with ``rng`` augmented.

        Raises:
            UserError: naming the file or row, when it cannot be read.
        """
        ...

    def pad(self, values: Sequence[Any]) -> Padded:
        """Prepared values in one array; ``mask`` is True where real."""
        ...

    def missing(self) -> Any:
        """A prepared stand-in that no row uses: an exported graph wants every input."""
        ...

    def example(self) -> tuple[Padded, bool]:
        """Three values for an exporter, and whether axes other than the first may vary."""
        ...

    def size_of(self, value: Any) -> int:
        """How long a raw value is, in any unit: batches of similar lengths hold little padding."""
        ...

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """What the one value in ``given`` is made of; ``real`` and ``extent`` are those of its features."""
        ...

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """The one value in ``given``, once a row, without the units that are not kept."""
        ...

    def canvas(self, value: Any, source: str, size: int) -> UInt8[np.ndarray, "height width 3"] | None:
        """The image under the units' boxes, at most ``size`` pixels a side; None where units have no place in an image."""
        ...


Does = Literal["writes", "draws", "gives labels, a number or an embedding"]


@runtime_checkable
class OutputModality(Protocol):
    """What a model's output says. ``does``: which kind of decoder answers it."""

    @property
    def config(self) -> Any: ...

    does: ClassVar[Does]

    @property
    def augments(self) -> bool: ...

    def prepare_target(self, value: Any, source: str, rng: np.random.Generator | None = None) -> Any:
        """One row's target as arrays.

        Raises:
            UserError: naming the row, when it cannot be a target.
        """
        ...

    def pad_targets(self, values: Sequence[Any]) -> Padded:
        """Prepared targets in one array."""
        ...
