"""The records: the whole dataflow of Braid, in order.

    Example -> Sample -> Batch -> Features -> Fused -> Prediction

They hold numpy arrays on the way in and torch tensors inside the model, so an array is typed by its shape alone.
``mask`` is True where a value is real, everywhere.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from braid.shapes import Bool, Float, Int, Shaped, UInt8


@dataclass(frozen=True)
class Example:
    """One row of a data set; knows no task.

    ``fields`` maps a role to its value: ``image`` (path, bytes, PIL image or array), ``captions`` (tuple of str),
    ``question`` (str), ``answers`` (tuple of str), ``label`` (str, or a tuple of several), ``text`` (str), ...

    Each of the ``answers`` is a whole one, of another person or in other words, the usual one first; one of several parts is
    one text ("bed, lamp").
    """

    id: str
    fields: Mapping[str, Any]
    split: str = ""  # train, val, test, or "" where the data set does not say
    source: str = ""  # where the row stands, for error messages: "captions.jsonl, row 12"


@dataclass(frozen=True)
class Sample:
    """What one task makes of an example, still raw: values by input name, targets by decoder name."""

    id: str
    inputs: Mapping[str, Any]
    # by decoder: texts (a group) to write, labels, a number, a picture, or the key an embedding shares with what belongs to it
    targets: Mapping[str, Any] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class View:
    """What a page shows of a value: an image or a recording (``media``, encoded), the cells of a table, or a text.

    ``text`` is there for every value: a page reads it aloud, a terminal prints it.
    """

    text: str = ""
    cells: Mapping[str, str] = field(default_factory=dict)
    media: bytes = b""
    media_type: str = ""  # image/jpeg, audio/ogg, ...

    @property
    def uri(self) -> str:
        """The media as a data URI; "" where there is none."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.media).decode('ascii')}" if self.media else ""

    def html(self) -> str:
        """The value as HTML that needs no other file."""
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
    """What one value is made of, to people: the patches of an image, the words of a text, the columns of a row.

    ``positions``: the positions of the features that belong to each unit; padding belongs to none. ``boxes`` (left, top, right,
    bottom in 0..1) say where a unit lies in an image, ``spans`` (first and last) where it stands in a sequence of tokens.
    """

    names: tuple[str, ...]
    positions: Bool[Any, "units length"]
    boxes: Float[Any, "units 4"] | None = None
    spans: tuple[tuple[int, int], ...] = ()
    kind: str = "parts"  # what people call them: words, patches, columns

    @property
    def number(self) -> int:
        return len(self.names)

    @property
    def removable(self) -> Bool[Any, " units"]:
        """The units that can be removed from the value: all; of boxes those of the finest grid, which covers the image once."""
        if self.boxes is None or not len(self.boxes):
            return np.ones(self.number, dtype=bool)
        areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        return np.asarray(areas < 1.01 * areas.min())

    @property
    def separate(self) -> bool:
        """Whether the features tell units apart; an encoder that gives one vector for the whole value does not."""
        own = self.positions[self.positions.any(1)]
        return len(own) < 2 or len(np.unique(own, axis=0)) > 1


@dataclass(frozen=True)
class Padded:
    """Values of unequal size in one array. ``mask`` is True = real, over the leading axes of ``values``.

    Text is ``values [n, length]`` with ``mask [n, length]``; an image is ``values [n, 3, height, width]`` with
    ``mask [n, height, width]`` (False where the picture was letterboxed); a text target is
    ``[batch, group, length]`` for both.
    """

    values: Shaped[Any, "..."]
    mask: Bool[Any, "..."]


@dataclass(frozen=True)
class BatchInput:
    """One input of a batch: its distinct values, and which of them each row uses (-1: the row lacks this input).

    ``encoded``: the values are an encoder's features already, [n, positions, width].
    """

    distinct: Padded
    index: Int[Any, " batch"]
    encoded: bool = False


@dataclass(frozen=True)
class Batch:
    """Rows ready for a model. An input that no row has is absent from ``inputs``."""

    ids: tuple[str, ...]
    inputs: Mapping[str, BatchInput]
    targets: Mapping[str, Padded] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Features:
    """One input after its encoder. ``extent`` is each position's source, the same for every row where it is given: a box (left,
    top, right, bottom) in 0..1 of an image, the (first, last) token of a text, or the number of a column, as the input's
    modality reads it."""

    values: Float[Any, "batch length width"]
    mask: Bool[Any, "batch length"]
    extent: Float[Any, "length corners"] | None = None


@dataclass(frozen=True)
class Fused:
    """All inputs in one sequence. A vector fusion has length 1.

    ``pooled`` summarises a row; ``spans`` says which positions came from which input, where that is still true;
    ``weights`` how much each input counted (inputs in the order of ``spans`` or of the fusion), where the fusion knows;
    ``given`` are the inputs themselves, for a decoder that edits one.
    """

    values: Float[Any, "batch length width"]
    mask: Bool[Any, "batch length"]
    pooled: Float[Any, "batch width"]
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    weights: Mapping[str, Float[Any, " batch"]] = field(default_factory=dict)
    given: Mapping[str, BatchInput] = field(default_factory=dict)


@dataclass(frozen=True)
class GeneratedImage:
    """A picture that a model made: ``pixels`` [height, width, 3] uint8 from its ``tokens``, each one of so many ``codes``."""

    pixels: UInt8[Any, "height width 3"]
    tokens: Int[Any, " length"]
    codes: int


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one row. ``confidence`` is in 0..1; ``scores`` maps a candidate to its probability.

    ``token_probabilities`` are those of the text's tokens, <eos> included: what confidence is the mean of. ``labels``
    are all that a row is given where it may have several; ``label`` then names them in one text. ``embeddings`` are unit vectors,
    by the input that each was made from. ``figures`` are measured where the answer is made, of what is not kept.
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
