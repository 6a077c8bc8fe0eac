"""Questions made from English captions by leaving a word out, as COCO-QA's were (Ren, Kiros & Zemel 2015, arXiv:1505.02074).

"a giraffe standing in a field" gives "what is standing in a field?", "giraffe". COCO-QA's authors parsed their captions; here a
word is a noun if people answered with it, and a phrase begins at its article.
"""

import random
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

LONGEST = 14  # words of a question
ARTICLES = {"a", "an", "the", "some", "his", "her", "their", "its", "several", "many"}
NUMBERS = {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
LINKS = {"in", "on", "at", "of", "with", "to", "from", "by", "near", "next", "under", "over", "behind", "through", "into", "onto"}
PLACED = {"in", "on", "at", "inside"}
BE = {"is", "are"}
COLOURS = {"red", "white", "black", "blue", "green", "yellow", "brown", "gray", "grey", "orange", "purple", "pink"}
SINGULAR = {"bus", "grass", "dress", "glass", "tennis", "canvas", "cross", "class", "mattress"}
PLURAL = {"men", "women", "people", "children", "sheep", "geese", "police"}
MOST = {"what": 5, "here": 2, "color": 2, "number": 1, "place": 1}  # questions of each kind that a photo gives


class Asked(NamedTuple):
    kind: str
    question: str
    answer: str


def questions(captions: Sequence[str], nouns: Collection[str], most: int, chance: random.Random) -> list[Asked]:
    """At most ``most`` questions about a photo, each question once."""
    found = [asked for caption in captions for asked in _read(re.findall(r"[a-z]+", caption.lower()), nouns)]
    chance.shuffle(found)
    left, kept = dict(MOST), {}
    for asked in found:
        if left[asked.kind] and asked.question not in kept:
            left[asked.kind] -= 1
            kept[asked.question] = asked
    return list(kept.values())[:most]


def _read(words: Sequence[str], nouns: Collection[str]) -> Iterator[Asked]:
    """All that a caption tells."""
    yield from _counted(words)
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in COLOURS and following in nouns:
            yield Asked("color", f"what is the color of the {following}?", {"grey": "gray"}.get(word, word))
        if word in nouns and following not in nouns and word not in COLOURS:
            begin = _phrase(words, place)
            yield from _left_out(words[:begin], word, words[place + 1 :])


def _phrase(words: Sequence[str], place: int) -> int:
    """Where the phrase of a noun begins: at its article or number, or else at the noun."""
    for begin in range(place - 1, max(place - 5, -1), -1):
        if words[begin] in ARTICLES | NUMBERS:
            return begin
        if words[begin] in LINKS | BE | {"and"} or words[begin].endswith("ing"):
            break
    return place


def _left_out(before: Sequence[str], noun: str, after: Sequence[str]) -> Iterator[Asked]:
    after = after[:LONGEST]
    if not before and after:
        if after[0].endswith("ing"):
            yield Asked("what", _said("what", _be([noun]), *after), noun)
        elif after[0] not in {"and", "of"}:
            yield Asked("what", _said("what", *after), noun)
    elif before and (verb := before[-1]).endswith("ing"):
        who = _definite([word for word in before[:-1] if word not in BE])
        if who:
            yield Asked("what", _said("what", _be(who), *who, verb, *after), noun)
    elif len(before) > 3 and before[-1] in PLACED and any(word.endswith("ing") for word in before):
        who = _definite([word for word in before[:-1] if word not in BE])
        yield Asked("place", _said("where", _be(_subject(who)), *who), noun)
    if len(before) > 1:
        yield Asked("here", _said(*before[-LONGEST:], "what", *after), noun)


def _counted(words: Sequence[str]) -> Iterator[Asked]:
    if words and words[0] in NUMBERS and len(words) > 3:
        who = _subject(words[1:])
        rest = [word for word in words[1 + len(who) :] if word not in BE]
        yield Asked("number", _said("how many", *who, *(["are"] if rest else []), *rest[:LONGEST]), words[0])


def _subject(words: Sequence[str]) -> list[str]:
    """The words before a verb or a preposition."""
    return list(takewhile(lambda word: word not in LINKS | BE and not word.endswith("ing"), words))


def _definite(words: Sequence[str]) -> list[str]:
    return ["the", *words[1:]] if words and words[0] in {"a", "an"} else list(words)


def _be(phrase: Sequence[str]) -> str:
    last = phrase[-1] if phrase else ""
    several = last in PLURAL or (last.endswith("s") and last not in SINGULAR)
    return "are" if several or NUMBERS & set(phrase) - {"one"} else "is"


def _said(*words: str) -> str:
    return f"{' '.join(words[: LONGEST + 3])}?"
