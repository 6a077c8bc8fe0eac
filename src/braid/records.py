"""The records of Braid's dataflow, in order.

    Example -> Sample -> Batch -> Features -> Fused -> Prediction

Arrays are numpy outside the model and torch inside it, so annotations give shapes only. ``mask`` is True where a value is real,
everywhere.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np

from braid.shapes import Bool, Float, Int, Shaped, UInt8


@dataclass(frozen=True)
class Example:
    """One row of a data set, independent of tasks.

    ``fields`` maps a role to its value: ``image`` (path, bytes, PIL image or array), ``captions`` (tuple of str),
    ``question`` (str), ``answers`` (tuple of str), ``label`` (str, or a tuple of several), ``text`` (str), ...

    Each of the ``answers`` is a complete answer (of another person, or in other words), the most common one first. An answer with
    several parts is one text ("bed, lamp").
    """

    id: str
    fields: Mapping[str, Any]
    split: str = ""  # train, val, test, or "" if the data set has no splits
    source: str = ""  # the origin of the row, for error messages: "captions.jsonl, row 12"


@dataclass(frozen=True)
class Sample:
    """An example as one task uses it, with raw values: inputs by input name, targets by decoder name."""

    id: str
    inputs: Mapping[str, Any]
    # by decoder: a group of texts, labels, a number, an image, or the key that matching embeddings share
    targets: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    source: str = ""
    language: str = ""  # of the text to write; "" if the model knows no languages by name


@dataclass(frozen=True)
class View:
    """A value for display: an image or a recording (``media``, encoded), the cells of a table row, or a text.

    Every view has a ``text``, for terminals and screen readers.
    """

    text: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)
    media: bytes = b""
    media_type: str = ""  # image/jpeg, audio/ogg, ...

    @property
    def uri(self) -> str:
        """The media as a data URI, or ""."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.media).decode('ascii')}" if self.media else ""

    def html(self) -> str:
        """The value as self-contained HTML."""
        if self.media_type.startswith("image/"):
            return f'<img src="{self.uri}" alt="{escape(self.text)}">'
        if self.media_type.startswith("audio/"):
            return f'<audio controls src="{self.uri}">{escape(self.text)}</audio>'
        if self.cells:
            rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(cell)}</td></tr>" for name, cell in self.cells.items())
            return f'<table class="cells">{rows}</table>'
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Units:
    """The units of one value that people recognise: the patches of an image, the words of a text, the columns of a row.

    ``positions`` marks the feature positions of each unit; padding belongs to no unit. ``boxes`` (left, top, right, bottom in
    0..1) are places in an image, ``times`` (start, end in seconds) places in a recording or a clip, and ``spans`` (first, last)
    places in a sequence of tokens.
    """

    names: tuple[str, ...]
    positions: Bool[Any, "units length"]
    boxes: Float[Any, "units 4"] | None = None
    times: Float[Any, "units 2"] | None = None
    spans: tuple[tuple[int, int], ...] = ()
    kind: str = "parts"  # the name for people: words, patches, columns

    @property
    def number(self) -> int:
        return len(self.names)

    @property
    def removable(self) -> Bool[Any, " units"]:
        """The units that can be removed: all, or with boxes those of the finest grid, which covers the image once."""
        if self.boxes is None or not len(self.boxes):
            return np.ones(self.number, dtype=bool)
        areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        return np.asarray(areas < 1.01 * areas.min())

    @property
    def separate(self) -> bool:
        """Whether units have feature positions of their own; they do not if the encoder gives one vector per value."""
        own = self.positions[self.positions.any(1)]
        return len(own) < 2 or len(np.unique(own, axis=0)) > 1


@dataclass(frozen=True)
class Padded:
    """Values of different sizes in one array. ``mask`` is True where real, over the leading axes of ``values``.

    Text is ``values [n, length]`` with ``mask [n, length]``; an image is ``values [n, 3, height, width]`` with
    ``mask [n, height, width]`` (False where the image was letterboxed); a text target is
    ``[batch, group, length]`` for both.
    """

    values: Shaped[Any, "..."]
    mask: Bool[Any, "..."]


@dataclass(frozen=True)
class BatchInput:
    """One input of a batch: its distinct values, and the index of the value that each row uses (-1: the row lacks the input).

    ``encoded``: the values are already features of an encoder, [n, positions, width].
    """

    distinct: Padded
    index: Int[Any, " batch"]
    encoded: bool = False


@dataclass(frozen=True)
class Batch:
    """Rows ready for a model. An input that no row has is absent from ``inputs``.

    ``languages`` and ``words`` are empty or have one entry a row: the language of the text to write, and words of which the text
    has to have one.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, BatchInput]
    targets: Mapping[str, Padded] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    @property
    def size(self) -> int:
        return len(self.ids)

    def rows(self, chosen: Sequence[int]) -> "Batch":
        """Some rows of a batch of arrays, without targets, and only with the distinct values that they use."""
        inputs = {}
        for name, given in self.inputs.items():
            used, index = np.unique(given.index[chosen], return_inverse=True)
            if (absent := int((used < 0).sum())) < len(used):
                values, mask = given.distinct.values[used[absent:]], given.distinct.mask[used[absent:]]
                inputs[name] = replace(given, distinct=Padded(values, mask), index=index - absent)
        languages = tuple(self.languages[row] for row in chosen) if self.languages else ()
        words = tuple(self.words[row] for row in chosen) if self.words else ()
        return Batch(tuple(self.ids[row] for row in chosen), inputs, {}, languages, words)


@dataclass(frozen=True)
class Features:
    """One input after its encoder. ``extent`` gives the source of each position, the same for all rows: a box (left, top, right,
    bottom in 0..1) of an image, the (first, last) token of a text, the number of a column, a time (start, end in 0..1) of a
    recording, or a time and a box (start, end, left, top, right, bottom) of a clip. The input's modality reads it. ``native`` is
    the mean of what the encoder gave, before it was projected to the shared width."""

    values: Float[Any, "batch length width"]
    mask: Bool[Any, "batch length"]
    extent: Float[Any, "length corners"] | None = None
    native: Float[Any, "batch native"] | None = None

    def rows(self, chosen: Any) -> "Features":
        """Some rows: a slice, or an array of their numbers."""
        native = None if self.native is None else self.native[chosen]
        return Features(self.values[chosen], self.mask[chosen], self.extent, native)


@dataclass(frozen=True)
class Fused:
    """All inputs in one sequence; a vector fusion gives length 1.

    ``pooled`` is one vector per row. ``spans`` maps an input to its positions (first, end), if the fusion keeps them apart;
    ``weights`` is the share of each input per row, if the fusion computes it. ``given`` holds the inputs themselves, for a
    decoder that edits one; ``native`` the mean of what the encoder of each gave, for a decoder that reads one before the fusion.
    """

    values: Float[Any, "batch length width"]
    mask: Bool[Any, "batch length"]
    pooled: Float[Any, "batch width"]
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    weights: Mapping[str, Float[Any, " batch"]] = field(default_factory=dict)
    given: Mapping[str, BatchInput] = field(default_factory=dict)
    native: Mapping[str, Float[Any, "batch native"]] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratedImage:
    """An image that a model generated: ``pixels`` [height, width, 3] uint8, decoded from ``tokens`` in 0 .. ``codes`` - 1."""

    pixels: UInt8[Any, "height width 3"]
    tokens: Int[Any, " length"]
    codes: int


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one row. ``confidence`` is in 0..1; ``scores`` maps each candidate to its probability.

    ``token_probabilities`` are those of the text's tokens, <eos> included. ``labels`` lists all predicted labels, if a row may
    have several; ``label`` then joins them in one text. ``embeddings`` are unit vectors, by input. ``metrics`` are computed
    during the prediction, from values that are not kept.
    """

    id: str
    text: str | None = None
    label: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.0
    token_probabilities: tuple[float, ...] = ()
    labels: tuple[str, ...] | None = None
    value: float | None = None
    embeddings: Mapping[str, Float[Any, " width"]] = field(default_factory=dict)
    image: GeneratedImage | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
