"""Short Chinese captions of everyday photos from English ones, by the words and patterns of chinese-words.yaml.

Nobody has written Chinese captions for these photos. A caption that begins as one of a few patterns does ("a brown dog sitting
on a couch") is said in Chinese (一只棕色的狗坐在沙发上); what follows is left out, and any other caption gives none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "chinese-words.yaml").read_text(encoding="utf-8"))
NOUNS = {name: (chinese, measure) for measure, nouns in WORDS["nouns"].items() for name, chinese in nouns.items()}
LONGEST = 4  # words of an entry
SINGULAR = ("bus", "grass", "glass", "tennis")  # though they end in s
COUNTED = ("一", "两", "三", "四", "五", "几")  # counts that need a measure word
SKIPPED = ("is", "are", "that", "who", "very", "his", "her", "their", "its", "up", "down", "around", "outside", "together")


@dataclass(frozen=True)
class Thing:
    """A noun with what is said of it: 两只, 白色的, 狗; its measure word is 只."""

    count: str
    colour: str
    name: str
    measure: str

    @property
    def lives(self) -> bool:
        person = self.name.endswith(("人", "员", "手", "儿", "士", "警察", "情侣")) or "孩" in self.name
        return person or self.measure in ("匹", "头", "群") or (self.measure == "只" and self.name not in WORDS["lifeless"])

    @property
    def whole(self) -> str:
        return self.count + self.colour + self.name


def in_chinese(caption: str) -> str:
    """The caption in Chinese, or "" if it has none of the patterns."""
    words = re.findall(r"[a-z]+", caption.lower())
    subject, place = _thing(words, 0)
    if subject is None:
        return ""
    place = _past(words, place)
    for pattern in (_posture, _played, _held, _action, _placed) if subject.lives else (_stands, _placed):
        if said := pattern(subject, words, place):
            return said
    return subject.whole if place >= len(words) else ""


def _posture(subject: Thing, words: Sequence[str], place: int) -> str:
    verb, place = _entry("postures", words, place)
    where = _where(words, _past(words, place)) if verb else ""
    return f"{subject.whole}{verb}在{where}" if where else ""


def _stands(subject: Thing, words: Sequence[str], place: int) -> str:
    verb, place = _entry("postures", words, place)
    return _placed(subject, words, _past(words, place)) if verb else ""


def _played(subject: Thing, words: Sequence[str], place: int) -> str:
    if words[place : place + 1] not in (["playing"], ["plays"], ["play"]):
        return ""
    game, after = _entry("played", words, place + 1)
    if not game:
        return ""
    where = _where(words, _past(words, after))
    verb = "踢" if game == "足球" else "玩" if game in ("飞盘", "电子游戏") else "打"
    return f"{subject.whole}在{where}{verb}{game}"


def _held(subject: Thing, words: Sequence[str], place: int) -> str:
    verb, after = _entry("holds", words, place)
    if not verb:
        return ""
    thing, end = _thing(words, after)
    name = next((name for size in range(LONGEST, 0, -1) if (name := " ".join(words[end - size : end])) in NOUNS), "")
    key = f"{_base(words[place])} {name.split()[-1] if name else ''}"
    said = WORDS["special"].get(key) or (f"{verb}{thing.whole}" if thing else "")
    where = _where(words, _past(words, end)) if said else ""
    return f"{subject.whole}在{where}{said}" if said and where else f"{subject.whole}{said}" if said else ""


def _action(subject: Thing, words: Sequence[str], place: int) -> str:
    verb, after = _entry("actions", words, place)
    if not verb:
        return ""
    where = _where(words, _past(words, after))
    return f"{subject.whole}在{where}{verb}" if where else f"{subject.whole}在{verb}"


def _placed(subject: Thing, words: Sequence[str], place: int) -> str:
    where = _where(words, place)
    return f"{where}有{subject.whole}" if where else ""


def _where(words: Sequence[str], place: int) -> str:
    """The place that a preposition names; "" if it is none that has a name in Chinese."""
    side, after = _entry("prepositions", words, place)
    if not side:
        return ""
    while words[after : after + 1] and (
        words[after] in WORDS["counts"] or words[after] in WORDS["colours"] or words[after] in SKIPPED
    ):
        after += 1
    for size in range(LONGEST, 0, -1):
        name = " ".join(words[after : after + size])
        for one in (name, _singular(name)):
            if found := WORDS["places"][side].get(one):
                return str(found)
    return ""


def _thing(words: Sequence[str], place: int) -> tuple[Thing | None, int]:
    """The thing named at a place, and where the words go on."""
    count, place = _entry("counts", words, place)
    colour = ""
    while True:
        name, measure, after = _noun(words, place)
        if name:
            break
        if words[place : place + 1] and words[place] in WORDS["colours"]:
            colour = colour or WORDS["colours"][words[place]]
            place += 1
            continue
        return None, place
    last = words[after - 1]
    several = last in WORDS["plurals"] or (last.endswith("s") and last not in SINGULAR)
    if not count:
        count = "一些" if several else ""
    elif count in COUNTED:
        count = "一些" if count == "一" and several else count + (measure if count == "一" else measure.replace("些", "个"))
    if colour == "旧" and measure in "个位只匹头":
        colour = "年老的"
    return Thing(count, colour, name, measure), after


def _noun(words: Sequence[str], place: int) -> tuple[str, str, int]:
    """The Chinese name of the longest noun at a place, its measure word, and where the words go on."""
    for size in range(LONGEST, 0, -1):
        name = " ".join(words[place : place + size])
        if len(words) < place + size:
            continue
        if name in WORDS["plurals"]:
            return WORDS["plurals"][name], "只" if name in ("sheep", "geese") else "个", place + size
        for one in (name, _singular(name)):
            if one in NOUNS:
                return (*NOUNS[one], place + size)
    return "", "", place


def _entry(kind: str, words: Sequence[str], place: int) -> tuple[str, int]:
    """What an entry of a kind says in Chinese, and where the words go on: the longest that stands at a place."""
    for size in range(LONGEST, 0, -1):
        found = WORDS[kind].get(" ".join(words[place : place + size]))
        if found is not None and len(words) >= place + size:
            return str(found), place + size
    return "", place


def _past(words: Sequence[str], place: int) -> int:
    while words[place : place + 1] and words[place] in SKIPPED:
        place += 1
    return place


def _base(verb: str) -> str:
    return {"rides": "riding", "holds": "holding", "eats": "eating"}.get(verb, verb)


@cache
def _singular(name: str) -> str:
    return name.removesuffix("es") if name.endswith(("ches", "shes", "xes")) else name.removesuffix("s")


def captions_in_chinese(captions: Sequence[str], most: int = 3) -> list[str]:
    """Up to so many different Chinese captions of one photo, the longest first."""
    return sorted(dict.fromkeys(filter(None, map(in_chinese, captions))), key=len, reverse=True)[:most]
