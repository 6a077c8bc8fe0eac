"""Chinese questions with answers, made from Chinese captions by rules, as ``ask_captions.py`` makes English ones.

A caption is searched for animals, people, colours, numbers, actions and places (一只黑狗在草地上奔跑), each a question
(狗是什么颜色的？ 黑色); 图片里有…吗？ asks for a thing of two captions, or for one that no caption names, nor one like it.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Asked = tuple[str, str]  # a question, its answer

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "chinese-questions.yaml").read_text(encoding="utf-8"))
MEASURES = {noun: measure for measure, nouns in WORDS["counted"].items() for noun in nouns}


def questions(captions: Sequence[str], shares: Mapping[str, int], chance: random.Random) -> list[Asked]:
    """Some questions of a photo, of as many kinds as its captions give; one that captions answer in two ways is none.

    Args:
        shares: photos of each thing, from ``present``.
    """
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for caption in captions:
        for kind, question, answer in _read(caption):
            found[kind][question][answer] += 1
    kinds = [_agreed(asked) for asked in found.values()] + [_presence(captions, shares, chance)]
    kinds = [kind for kind in kinds if kind]
    chance.shuffle(kinds)
    return [chance.choice(kind) for kind in kinds[: WORDS["each"]]]


def present(captions: Sequence[str]) -> list[str]:
    """The things that two captions name, or the only one."""
    least = min(2, len(captions))
    return [group[0] for group in WORDS["things"] if sum(group[0] in caption for caption in captions) >= least]


def _read(caption: str) -> Iterator[tuple[str, str, str]]:
    """Kind, question and answer of all that one caption tells."""
    animal = next((name for word, name in WORDS["animals"].items() if word in caption), "")
    person = next((name for word, name in WORDS["people"].items() if word in caption), "")
    who = person or animal
    if animal:
        yield "animal", "图片里是什么动物？", animal
    if person:
        yield "person", "图片里是谁？", person
    for noun in WORDS["coloured"]:
        if match := re.search(rf"([{''.join(WORDS['colours'])}])色?的?(?:小|大)?{noun}", caption):
            yield "colour", f"{noun}是什么颜色的？", WORDS["colours"][match[1]]
    for noun, measure in MEASURES.items():
        if match := re.search(rf"([{''.join(WORDS['numbers'])}]){measure}(?:[^一两三四五在，]{{0,4}}?){noun}", caption):
            yield "number", f"图片里有几{measure}{noun}？", WORDS["numbers"][match[1]]
    for action in WORDS["actions"]:
        if who and action in caption:
            yield "action", f"{who}在做什么？", action
            break
    for word, place in WORDS["places"].items():
        if who and word in caption:
            yield "place", f"{who}在哪里？", place
            break


def _agreed(asked: Mapping[str, Counter[str]]) -> list[Asked]:
    best = [(question, *answers.most_common(1)[0], answers.total()) for question, answers in asked.items()]
    return [(question, answer) for question, answer, count, total in best if count > total / 2]


def _presence(captions: Sequence[str], shares: Mapping[str, int], chance: random.Random) -> list[Asked]:
    """Half yes, half no, and no thing more often the one than the other."""
    there = present(captions)
    absent = [group[0] for group in WORDS["things"] if not any(name in caption for name in group for caption in captions)]
    if there and chance.random() < 0.6:
        return [(f"图片里有{chance.choice(there)}吗？", "有")]
    if absent and len(captions) > 1:
        (thing,) = chance.choices(absent, [shares.get(thing, 0) + 1 for thing in absent])
        return [(f"图片里有{thing}吗？", "没有")]
    return []
