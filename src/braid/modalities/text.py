"""Text <-> tokens: a byte-level BPE tokenizer trained on the run's own words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as BPE

from braid.errors import UserError
from braid.records import Padded

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")


class Tokenizer:
    """Byte-level BPE (arXiv:1508.07909 on bytes): any text has tokens, and no token is unknown."""

    def __init__(self, bpe: BPE) -> None:
        self._bpe = bpe
        if [bpe.token_to_id(token) for token in SPECIAL] != [PAD, BOS, EOS]:
            raise UserError(f"tokenizer.json: its first tokens must be {', '.join(SPECIAL)}; it is not a Braid tokenizer")

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 6000, lowercase: bool = True) -> "Tokenizer":
        """Learn merges from ``texts``; ``vocab_size`` is an upper bound (small data gives fewer tokens)."""
        bpe = BPE(models.BPE())
        steps: list[normalizers.Normalizer] = [normalizers.NFC()]
        if lowercase:
            steps.append(normalizers.Lowercase())
        steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Replace(Regex(r"\s*\.+$"), "")]
        bpe.normalizer = normalizers.Sequence(steps)
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        try:
            bpe = BPE.from_str(text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the Rust library is no Exception
            raise UserError(f"tokenizer.json cannot be read ({error}); copy the bundle again") from None
        return cls(bpe)

    def to_json(self) -> str:
        return str(self._bpe.to_str(pretty=True))

    @property
    def vocab_size(self) -> int:
        return int(self._bpe.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``, without <bos> and <eos>."""
        # A special token spelled out in a user's text must stay text.
        return [token for token in self._bpe.encode(text, add_special_tokens=False).ids if token > EOS]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``; special tokens are left out."""
        return str(self._bpe.decode([int(token) for token in tokens], skip_special_tokens=True)).strip()


@dataclass(frozen=True)
class TextModalityConfig:
    """How a text becomes tokens. ``max_length`` counts <bos> and <eos>; longer text is cut."""

    kind: Literal["text"] = "text"
    max_length: int = 32

    name: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UserError(f"max_length is {self.max_length}; it must be at least 3, for <bos>, one token and <eos>")

    def build(self, tokenizer: Tokenizer) -> "TextModality":
        return TextModality(self, tokenizer)


class TextModality:
    """Text -> ``tokens [length]`` with <bos> and <eos>."""

    def __init__(self, config: TextModalityConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def max_length(self) -> int:
        return self.config.max_length

    def prepare(self, value: str, source: str = "", rng: np.random.Generator | None = None) -> Int[np.ndarray, " _"]:
        """Turn one text into tokens.

        Raises:
            UserError: for a value that is not text; ``source`` says which row.
        """
        if not isinstance(value, str):
            raise UserError(f"{source or 'input'}: expected text, found {type(value).__name__} {value!r}")
        tokens = self.tokenizer.encode(value)[: self.max_length - 2]
        return np.array([BOS, *tokens, EOS], dtype=np.int64)

    def pad(self, values: Sequence[Int[np.ndarray, " _"]]) -> Padded:
        """Stack token rows: ``values [n, longest]``, ``mask [n, longest]``."""
        longest = max((len(value) for value in values), default=0)
        tokens = np.full((len(values), longest), PAD, dtype=np.int64)
        mask = np.zeros((len(values), longest), dtype=bool)
        for row, value in enumerate(values):
            tokens[row, : len(value)] = value
            mask[row, : len(value)] = True
        return Padded(tokens, mask)
