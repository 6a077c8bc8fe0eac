"""The text modality: text <-> tokens."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.modalities.cells import check_length, check_text, text_cell
from braid.modalities.protocol import Does
from braid.modalities.text.tokenizer import Tokenizer
from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, Int

MAX_LENGTH = 100_000  # tokens
KEPT = 0.5  # share of the words that a corrupted text keeps


@dataclass(frozen=True)
class TextModalityConfig:
    """The tokenization of texts.

    Args:
        max_length: maximum number of tokens, <bos> and <eos> included; longer texts are cut.
        tokenizer: name of the tokenizer's file in the bundle, without ``.json``; a pretrained part has its own.
    """

    kind: Literal["text"] = "text"
    max_length: int = 32
    tokenizer: str = "tokenizer"

    columns: ClassVar[tuple[str, ...]] = ("text", "title", "post", "tweet", "body")
    suffixes: ClassVar[frozenset[str]] = frozenset()
    input_name: ClassVar[str] = "prompt"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        within(self, 3, MAX_LENGTH, "max_length")
        if not re.fullmatch(r"[\w.-]*tokenizer", self.tokenizer):
            raise UserError(
                f"tokenizer is {self.tokenizer!r}; it must be the name of a file in the bundle that ends in 'tokenizer'"
            )

    def build(self, tokenizer: Tokenizer | None = None) -> "TextModality":
        assert tokenizer is not None  # bundles contain the tokenizers of their texts
        return TextModality(self, tokenizer)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "TextModalityConfig":
        return self

    def cheaper(self) -> "TextModalityConfig":
        return self

    def augmenting(self) -> "TextModalityConfig":
        return self

    def in_use(self) -> "TextModalityConfig":
        return self

    def summary(self) -> str:
        return f"up to {self.max_length} tokens"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "text", "type": "text"}]

    @staticmethod
    def key(value: Any) -> str:
        return str(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> str:
        ((column, value),) = cells.items()
        return text_cell(value, column)

    @staticmethod
    def from_json(value: Any) -> str:
        if not isinstance(value, str):
            raise UserError(f"expected text, found {type(value).__name__}")
        return check_length(check_text(value, "the text"), "the text")

    @staticmethod
    def parse(text: str) -> str:
        return text

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        return str(value).encode(), ".txt"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        return View(str(value))

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> str:
        """The text with half of its words removed."""
        words = str(value).split()
        kept = [word for word in words if rng.random() < KEPT]
        return " ".join(kept or words[:1])


class TextModality:
    """Text -> ``tokens [length]`` with <bos> and <eos>."""

    shared: ClassVar[bool] = False
    augments: ClassVar[bool] = False
    does: ClassVar[Does] = "writes texts"

    def __init__(self, config: TextModalityConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def max_length(self) -> int:
        return self.config.max_length

    @property
    def room(self) -> int:
        """The tokens of a text that are read, without <bos> and <eos>."""
        return self.max_length - len(self.tokenizer.framed("", self.max_length))

    def cuts(self, text: str) -> bool:
        """Whether a text is longer than what is read of it."""
        return len(self.tokenizer.framed(text, 2 * self.max_length)) > self.max_length

    def prepare(self, value: str, source: str = "", rng: np.random.Generator | None = None) -> Int[np.ndarray, " _"]:
        """Turn one text into tokens.

        Raises:
            UserError: for a value that is not text, or empty; ``source`` names the row.
        """
        if not isinstance(value, str):
            raise UserError(f"{source or 'input'}: expected text, found {type(value).__name__} {value!r}")
        return self._tokens(check_text(value, f"{source or 'input'}: the text"))

    def _tokens(self, text: str) -> Int[np.ndarray, " _"]:
        return np.array(self.tokenizer.framed(text, self.max_length), dtype=np.int64)

    def prepare_target(
        self, value: Sequence[str], source: str, rng: np.random.Generator | None = None
    ) -> list[Int[np.ndarray, " _"]]:
        """Turn a group of texts into tokens."""
        return [self.prepare(text, source) for text in value]

    def pad_targets(self, values: Sequence[Sequence[Int[np.ndarray, " _"]]]) -> Padded:
        """Stack groups of texts: tokens [n, group, length]; the mask is False for the missing texts of smaller groups."""
        largest = max(len(group) for group in values)
        flat = [group[i] if i < len(group) else np.zeros(0, np.int64) for group in values for i in range(largest)]
        padded = self.pad(flat)
        shape = (len(values), largest, padded.values.shape[-1])
        return Padded(padded.values.reshape(shape), padded.mask.reshape(shape))

    def pad(self, values: Sequence[Int[np.ndarray, " _"]]) -> Padded:
        """Stack token rows: ``values [n, longest]``, ``mask [n, longest]``."""
        longest = max((len(value) for value in values), default=0)
        tokens = np.full((len(values), longest), self.tokenizer.special.pad, dtype=np.int64)
        mask = np.zeros((len(values), longest), dtype=bool)
        for row, value in enumerate(values):
            tokens[row, : len(value)] = value
            mask[row, : len(value)] = True
        return Padded(tokens, mask)

    def missing(self) -> Int[np.ndarray, " _"]:
        return self._tokens("")

    def example(self) -> tuple[Padded, bool]:
        return Padded(np.full((3, 5), 3, np.int64), np.ones((3, 5), bool)), True

    def size_of(self, value: Any) -> int:
        return len(value)

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """Words; special tokens belong to no word."""
        tokens = given.values[0].tolist()
        single = extent is not None and len(extent) == 1  # one vector for the whole text
        read = given.mask[0] if single else real
        spans = [(first, last) for first, last in self.tokenizer.words(tokens) if last < len(read) and read[last]]
        positions = np.full((len(spans), len(real)), single)
        for unit, (first, last) in enumerate(() if single else spans):
            positions[unit, first : last + 1] = True
        names = tuple(self.tokenizer.decode(tokens[first : last + 1]) for first, last in spans)
        return Units(names, positions, spans=tuple(spans), kind="words")

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Removed words are deleted from the text."""
        tokens = given.values[0][given.mask[0]]
        stays = np.ones((len(kept), len(tokens)), dtype=bool)
        for unit, (first, last) in enumerate(units.spans):
            stays[:, first : last + 1] &= kept[:, unit, None]
        return self.pad([tokens[row] for row in stays])

    def canvas(self, value: Any, source: str, size: int) -> None:
        return None
