"""Questions with answers for the built-in model: made from captions by rules, in English and in Chinese, and others: of people
about rooms (DAQUAR), and about everyday photos (COCO-QA, VQA v2).

    python benchmarks/questions.py --split runs/daquar.jsonl
    python -m braid.recipes.small.everyday ../shared/data runs/everyday.jsonl
    python -m braid.recipes.small.ask_captions runs/questions.jsonl

A caption is read for colours, numbers, actions, clothes, places and things ("a brown dog is running on the beach"), each a
question (Ren, Kiros & Zemel 2015, arXiv:1505.02074, did so with a parser). "is there a ...?" asks for a thing of two captions,
or for one that no caption names, nor one like it. Captions of all training photos also give questions in the manner of COCO-QA
(ask_what.py). Validation rows are those of Flickr8k, and COCO-QA's and VQA's own; DAQUAR gives training rows alone.
"""

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from braid.files import write_whole
from braid.recipes.small import ask_in_chinese, ask_what

Asked = tuple[str, str]  # a question, its answer

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "ask-captions.yaml").read_text(encoding="utf-8"))
PEOPLE, ANIMALS, THINGS = (WORDS[kind] for kind in ("people", "animals", "things"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--captions", type=Path, default=Path("../shared/data/flickr8k/captions.jsonl"))
    parser.add_argument("--asked", type=Path, default=Path("runs/daquar.jsonl"))
    parser.add_argument("--everyday", type=Path, default=Path("../shared/data/coco-vqa/qa.jsonl"))
    parser.add_argument("--described", type=Path, default=Path("runs/everyday.jsonl"), help="captions in both languages")
    chosen = parser.parse_args()
    rooms = [row for row in _rows(chosen.asked) if row["split"] == "train"]
    everyday = list(_located(chosen.everyday))
    again = [row for row in everyday if row["split"] == "train"] * (WORDS["times"]["everyday"] - 1)
    made = [*from_captions(chosen.captions), *left_out(chosen.described, chosen.everyday), *in_chinese(chosen.described)]
    rows = [*made, *everyday, *again, *rooms * WORDS["times"]["rooms"]]
    write_whole(chosen.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{chosen.output}: {Counter(row['split'] for row in rows)}")


def left_out(path: Path, asked: Path) -> Iterator[dict[str, Any]]:
    """Questions that leave a word out of a caption: a word that often answers the questions that people ``asked``."""
    chance = random.Random(0)
    answers = Counter(row["answer"] for row in _rows(asked) if row["split"] == "train" and row["kind"] in ("object", "location"))
    nouns = {answer for answer, count in answers.items() if count >= WORDS["often"]}
    for row in _rows(path):
        if row["split"] == "train" and row["language"] == "en":
            for _, question, answer in ask_what.questions(row["captions"], nouns, WORDS["left_out"], chance):
                yield {"image": row["image"], "split": "train", "question": question, "answer": answer, "answers": [answer]}


def in_chinese(path: Path) -> Iterator[dict[str, Any]]:
    """Chinese questions about the photos with Chinese captions."""
    chance = random.Random(0)
    photos = [row for row in _rows(path) if row["language"] == "zh"]
    shares = Counter(thing for row in photos for thing in ask_in_chinese.present(row["captions"]))
    for row in photos:
        for question, answer in ask_in_chinese.questions(row["captions"], shares, chance):
            yield {"image": row["image"], "split": row["split"], "question": question, "answer": answer, "answers": [answer]}


def _located(path: Path) -> Iterator[dict[str, Any]]:
    for row in _rows(path):
        given = {name: row[name] for name in ("split", "question", "answer", "answers")}
        yield {"image": str((path.parent / row["image"]).resolve()), **given}


def from_captions(path: Path) -> Iterator[dict[str, Any]]:
    """So many questions a photo, of as many kinds as its captions give."""
    chance = random.Random(0)
    photos = [(row, [re.findall(r"[a-z]+", caption.lower()) for caption in row["captions"]]) for row in _rows(path)]
    shares = Counter(thing for _, captions in photos for thing in present(captions))
    for row, captions in photos:
        kinds = [kind for kind in questions(captions, shares, chance) if kind]
        chance.shuffle(kinds)
        for kind in kinds[: WORDS["each"]]:
            question, answer = chance.choice(kind)
            image = str((path.parent / row["image"]).resolve())
            yield {"image": image, "split": row["split"], "question": question, "answer": answer, "answers": [answer]}


def questions(captions: Sequence[Sequence[str]], shares: Mapping[str, int], chance: random.Random) -> list[list[Asked]]:
    """The questions of a photo by kind; one that captions answer in two ways is none. ``shares``: photos of each thing."""
    result: dict[str, list[Asked]] = defaultdict(list)
    for words in captions:
        for kind, question, answer in _read(words):
            result[kind].append((question, answer))
    kinds = [_agreed(asked) for asked in result.values()]
    return [*kinds, *_presence(captions, shares, chance)]


def _read(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Kind, question and answer of all that one caption tells."""
    who = next((word for word in words if word in PEOPLE or word in ANIMALS), None)
    yield from _counted(words)
    for place, (before, word) in enumerate(pairwise(["", *words])):
        if word in WORDS["coloured"] and before in WORDS["colours"]:
            yield "colour", f"what color is the {word}?", {"grey": "gray"}.get(before, before)
        if who and word in WORDS["actions"] and before in (who, "is"):
            yield "action", f"what is the {who} doing?", word
        if word in WORDS["places"] and before in ("in", "on", "the"):
            yield "place", f"where is the {who}?" if who else "where is this?", word
        if word in ANIMALS:
            yield "animal", "what animal is in the picture?", {"puppy": "dog"}.get(word, word)
        used = [near for near in words[place + 1 : place + 5] if near in WORDS["used"].get(word, ())]
        if who and used:
            yield word, f"what is the {who} {word}?", used[0]
    if who and who in PEOPLE:
        yield "who", "who is in the picture?", who


def _counted(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    several = [word for word in words if word in WORDS["counted"]]
    for before, word in pairwise(words):
        if word in several and before in WORDS["numbers"]:
            yield "number", f"how many {word} are there?", WORDS["numbers"][before]
        if not several and before == "a" and f"{word}s" in WORDS["counted"]:
            yield "number", f"how many {word}s are there?", "1"


def _agreed(asked: Iterable[Asked]) -> list[Asked]:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in asked:
        answers[question][answer] += 1
    return [
        (question, counts.most_common(1)[0][0])
        for question, counts in answers.items()
        if counts.most_common(1)[0][1] > sum(counts.values()) / 2
    ]


def _presence(captions: Sequence[Sequence[str]], shares: Mapping[str, int], chance: random.Random) -> Iterator[list[Asked]]:
    """Half yes, half no, and no thing more often the one than the other, or the question would give its answer away."""
    named = {word for words in captions for word in words}
    there = present(captions)
    absent = [group[0] for group in THINGS if not named & set(group)]
    if there and chance.random() < 0.75:
        yield [(_is_there(chance.choice(there)), "yes")]
    elif absent:
        (thing,) = chance.choices(absent, [shares[thing] for thing in absent])
        yield [(_is_there(thing), "no")]


def present(captions: Sequence[Sequence[str]]) -> list[str]:
    """The things that two captions name."""
    named = Counter(word for words in captions for word in set(words))
    return [group[0] for group in THINGS if named[group[0]] >= 2]


def _is_there(thing: str) -> str:
    return f"is there {'an' if thing[0] in 'aeiou' else 'a'} {thing} in the picture?"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main()
