"""The tokenizer: byte-level BPE trained on a run's texts, or the tokenizer of a pretrained model."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as BPE

from braid.config import parse_json
from braid.errors import UserError
from braid.modalities.cells import NO_TEXT

PAD, BOS, EOS = 0, 1, 2
LONGEST = 100  # characters that a token may stand for
FULL_STOPS = r"\s*\.+$"  # at the end of a text: part of the normalizer of Braid's tokenizers
SPACES = "".join(one for one in map(chr, range(0x3001)) if one.isspace() and not "\x1c" <= one <= "\x1f")  # as in FULL_STOPS
SPECIAL = ("<pad>", "<bos>", "<eos>")


class SpecialTokens(NamedTuple):
    """The ids of special tokens: padding, start of text (None: there is none) and end of text.

    A pretrained model may use one token for several of them, as GPT-2 does for all three.
    """

    pad: int = PAD
    bos: int | None = BOS
    eos: int = EOS


class Tokenizer:
    """Braid's own tokenizer is byte-level BPE (arXiv:1508.07909 on bytes), so it can encode any text without unknown tokens.

    The tokenizer of a pretrained model has special tokens with other names, which are saved in its file:
    ``{"special": {"pad": ..., "bos": ..., "eos": ...}, "tokenizer": {...}}``. An empty bos means that texts have no start token.
    """

    def __init__(self, bpe: BPE, names: Sequence[str] = SPECIAL, lowercase: bool | None = None) -> None:
        """``lowercase``: of a tokenizer that leaves out full stops at the end of a text; None for other tokenizers."""
        self._bpe, self._lowercase = bpe, lowercase
        if lowercase is not None:  # the expression takes time that grows with the square of a text's length: see ``encode``
            bpe.normalizer = _normalizer(lowercase)
        self._names = tuple(names)
        pad, bos, eos = (bpe.token_to_id(name) if name else None for name in self._names)
        if pad is None or eos is None or (bos is None and self._names[1]):
            missing = next(name for name, result in zip(names, (pad, bos, eos), strict=True) if result is None)
            raise UserError(f"the tokenizer has no token {missing!r}, which its special tokens name")
        self.special = SpecialTokens(pad, bos, eos)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 6000, lowercase: bool = True) -> "Tokenizer":
        """Train on ``texts``. ``vocab_size`` is an upper bound; small data gives fewer tokens."""
        bpe = BPE(models.BPE())
        bpe.normalizer = _normalizer(lowercase)
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        )
        bpe.train_from_iterator(map(_without_full_stops, texts), trainer)
        return cls(bpe, lowercase=lowercase)

    @classmethod
    def of_bytes(cls) -> "Tokenizer":
        """A tokenizer with one token per byte, for text that a model's own processor will read."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        bpe = BPE(models.BPE({token: number for number, token in enumerate([*SPECIAL, *alphabet])}, []))
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        bpe.decoder = decoders.ByteLevel()
        return cls(bpe)

    @classmethod
    def from_json(cls, text: str, where: str = "tokenizer.json") -> "Tokenizer":
        try:
            whole, names = text, list(SPECIAL)
            if text.startswith(_FOREIGN):
                data = parse_json(text)
                whole, names = json.dumps(data["tokenizer"]), [str(data["special"][role]) for role in ("pad", "bos", "eos")]
            with _panics(where):
                bpe = BPE.from_str(whole)
            bpe.no_truncation()
            bpe.no_padding()
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{where} cannot be read ({error}); copy the model again") from None
        if names == list(SPECIAL) and [bpe.token_to_id(token) for token in SPECIAL] != [PAD, BOS, EOS]:
            raise UserError(f"{where}: its first tokens must be {', '.join(SPECIAL)}; it is not a Braid tokenizer")
        return cls(bpe, names, _lowercase_of(whole) if json.dumps(FULL_STOPS) in whole else None)

    def to_json(self) -> str:
        bpe = self._bpe
        if self._lowercase is not None:
            bpe = BPE.from_str(bpe.to_str())
            bpe.normalizer = _normalizer(self._lowercase, _no_full_stops())
        own = str(bpe.to_str(pretty=True))
        if self._names == SPECIAL:
            return own
        special = dict(zip(("pad", "bos", "eos"), self._names, strict=True))
        return json.dumps({"special": special, "tokenizer": json.loads(own)}, indent=1, ensure_ascii=False)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """All tokens with their ids."""
        return dict(self._bpe.get_vocab())

    @cached_property
    def vocab_size(self) -> int:
        """The largest id plus one, because the ids of a pretrained vocabulary may have gaps."""
        return 1 + max(self.vocabulary.values())

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``, without special tokens.

        Raises:
            UserError: when it holds half a character.
        """
        if self._lowercase is not None:
            text = _without_full_stops(text)
        try:
            with _panics("tokenizer.json"):
                tokens = self._bpe.encode(text, add_special_tokens=False).ids
        except TypeError:  # the library reads UTF-8 only
            raise UserError(f"the text {NO_TEXT}; write it again") from None
        # The name of a special token in a user's text must not become a special token.
        return [token for token in tokens if token not in self.special]

    def framed(self, text: str, max_length: int) -> list[int]:
        """The tokens of ``text`` with start and end token, at most ``max_length`` in total."""
        first = [] if self.special.bos is None else [self.special.bos]
        most = LONGEST * max_length
        if len(text) > most:  # what is cut off anyway is not encoded
            text = re.sub(r"\s+", " ", text)[:most]
        return [*first, *self.encode(text)[: max_length - len(first) - 1], self.special.eos]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without special tokens."""
        words = [int(token) for token in tokens if token not in self.special]
        with _panics("tokenizer.json"):
            return str(self._bpe.decode(words, skip_special_tokens=True)).strip()

    def words(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """The first and the last token of each word in ``tokens``. Words are split at spaces and before wide characters (Chinese,
        Japanese, Korean); special tokens belong to no word."""
        spans: list[tuple[int, int]] = []
        before, waiting = "", -1  # a token without text of its own, or with half a character, waits for the next one
        read: list[int] = []
        for place, token in enumerate(tokens):
            if token in self.special:
                continue
            read.append(token)
            text = self.decode(read)
            if text == before or text.endswith("\ufffd"):
                waiting = place if waiting < 0 else waiting
                continue
            first, before = text[len(before) :][:1], text
            if not spans or first == " " or (first and unicodedata.east_asian_width(first) in "WF"):
                spans.append((place if waiting < 0 else waiting, place))
            else:
                spans[-1] = (spans[-1][0], place)
            waiting = -1
        return spans


@contextmanager
def _panics(where: str) -> Iterator[None]:
    """A panic of the Rust library, which is not an ``Exception``, comes from a file that was not made by a trained tokenizer.

    Raises:
        UserError: naming the file.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise UserError(f"{where} cannot be used ({str(error)[:200]}); copy the model again") from None


def _normalizer(lowercase: bool, *more: normalizers.Normalizer) -> normalizers.Normalizer:
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    return normalizers.Sequence([*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), *more])


def _no_full_stops() -> normalizers.Normalizer:
    return normalizers.Replace(Regex(FULL_STOPS), "")


def _lowercase_of(whole: str) -> bool | None:
    """Whether the normalizer in a tokenizer's file is ours, with lower case or without; None for another one."""
    given = json.loads(whole).get("normalizer")
    own = {lowercase: json.loads(_normalizer(lowercase, _no_full_stops()).__getstate__()) for lowercase in (True, False)}
    return next((lowercase for lowercase, one in own.items() if one == given), None)


def _without_full_stops(text: str) -> str:
    """``FULL_STOPS`` in linear time."""
    end = text.rstrip(SPACES)
    return end.rstrip(".").rstrip(SPACES) if end.endswith(".") else text


_FOREIGN = '{\n "special"'  # the start of the file of a pretrained model's tokenizer
