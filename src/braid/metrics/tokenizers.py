"""Text -> words, as caption metrics split them, and words -> n-gram counts."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from braid.config import did_you_mean
from braid.errors import UserError

Counts = Counter[tuple[str, ...]]

# What coco-caption drops after the Penn Treebank tokenizer.
DROPPED = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
PAIRS = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "lemme": "lem me", "gimme": "gim me"}
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))\b")
_WORD = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b"  # what a contraction leaves
    r"|(?:[a-z]\.){2,}|\b(?:mr|mrs|ms|dr|jr|sr|st|vs|prof|etc)\."  # abbreviations keep their period
    r"|\w+(?:(?:[-'/@&]|(?<=\d)[.,:](?=\d))\w+)*"  # words, hyphenated ones, numbers such as 1,000 and 3.5
    r"|\.\.\.|--|[^\s\w]"
)


def ptb(text: str) -> list[str]:
    """Lower-case words as the Penn Treebank tokenizer splits them, without punctuation, as in coco-caption."""
    text = _CLITIC.sub(r" \1", text.lower().translate(_QUOTES).replace('"', " '' "))
    tokens = [BRACKETS.get(token, token) for token in _WORD.findall(text)]
    return [part for token in tokens if token not in DROPPED for part in PAIRS.get(token, token).split()]


def characters(text: str) -> list[str]:
    """Every character except spaces, for Chinese captions."""
    return [character for character in text if not character.isspace()]


def none(text: str) -> list[str]:
    """Split at white space only, for text that is already tokenized."""
    return text.split()


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"ptb": ptb, "characters": characters, "none": none}


def tokenizer_named(name: str) -> Callable[[str], list[str]]:
    """The tokenizer of that name: ``ptb``, ``characters`` or ``none``.

    Raises:
        UserError: for another name.
    """
    if name not in TOKENIZERS:
        raise UserError(f"there is no tokenizer {name!r}; {did_you_mean(name, list(TOKENIZERS))}")
    return TOKENIZERS[name]


def ngram_counts(words: Sequence[str], longest: int = 4) -> Counts:
    """How often each n-gram of 1 to ``longest`` words occurs."""
    return Counter(tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1))
