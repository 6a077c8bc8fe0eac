"""What scenes in time share: events one after another, and questions whose answers are in their order."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, runtime_checkable

from braid.datasets.scenes.world import Scenes
from braid.records import Example

NUMBER = 3  # events of a scene: with two, "next after the circle" would leave one answer only
PLACES = {  # of an event in time, with all correct wordings
    "beginning": ("beginning", "at the beginning", "start", "first"),
    "middle": ("middle", "in the middle", "second"),
    "end": ("end", "at the end", "last"),
}


class Event(NamedTuple):
    """What happens from ``start`` to ``end`` (seconds). ``name`` is a word that no other event of the scene has."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class TimedQuestion:
    """A question whose first answer is the usual one. ``kind`` names the skill that it needs.

    ``moment`` (start, end in seconds) is the part that the answer depends on.
    """

    kind: str
    text: str
    answers: tuple[str, ...]
    moment: tuple[float, float]


@dataclass(frozen=True)
class Wording:
    """How events are asked about: which ``noun`` ``does`` what; ``do`` is the verb of "does it ...?"."""

    noun: str
    does: str
    do: str


@runtime_checkable
class TimedScene(Protocol):
    """A scene that can be described and asked about."""

    def captions(self, rng: random.Random) -> tuple[str, ...]: ...

    def question(self, rng: random.Random) -> TimedQuestion: ...


def timed_examples(
    world: Scenes, split: str, k: int, number: int, scene: TimedScene, fields: Mapping[str, Any]
) -> Iterator[Example]:
    """``number`` rows of scene ``k``: what they share (``fields``), captions, a question with its answers, and the moment that
    they depend on."""
    for place in range(number):
        again = f"-{place + 1}" if place else ""
        question = scene.question(world.rng(split, k, f"question{again}"))
        own = {
            "captions": scene.captions(world.rng(split, k, f"captions{again}")),
            "question": question.text,
            "answers": question.answers,
            "moment": question.moment,
        }
        yield Example(f"{split}/{k}{again}", {**fields, **own}, split, f"scenes, {split} {k}, {question.kind} question")


def about_order(kind: str, events: Sequence[Event], wording: Wording, rng: random.Random) -> TimedQuestion:
    """A question of one of ``ORDER`` about events in their order; every possible answer is as frequent as the others."""
    noun, does, do = wording.noun, wording.does, wording.do
    if kind == "first" or kind == "last":
        event = events[0 if kind == "first" else -1]
        return TimedQuestion(kind, f"which {noun} {does} {kind}?", (event.name,), (event.start, event.end))
    if kind == "next":
        place = rng.randrange(len(events) - 1)
        one, other = events[place : place + 2]
        return TimedQuestion(kind, f"which {noun} {does} next after the {one.name}?", (other.name,), (one.start, other.end))
    if kind == "when":
        place = rng.randrange(len(events))
        event = events[place]
        return TimedQuestion(kind, f"when does the {event.name} {do}?", list(PLACES.values())[place], (event.start, event.end))
    earlier, later = (events[place] for place in sorted(rng.sample(range(len(events)), 2)))
    yes, before = rng.random() < 0.5, rng.random() < 0.5
    one, other = (earlier, later) if yes == before else (later, earlier)
    text = f"does the {one.name} {do} {'before' if before else 'after'} the {other.name}?"
    return TimedQuestion(kind, text, ("yes" if yes else "no",), (earlier.start, later.end))


ORDER = ("first", "last", "next", "when", "order")


def in_turn(lengths: Sequence[int], total: int, least: int, rng: random.Random) -> list[tuple[int, int]]:
    """The first and the end of spans that follow each other within ``total``, at least ``least`` apart, otherwise at random."""
    spare = total - sum(lengths) - least * (len(lengths) - 1)
    cuts = sorted(rng.randint(0, spare) for _ in lengths)
    ends = accumulate(lengths)
    return [
        (cut + end - length + least * place, cut + end + least * place)
        for place, (cut, end, length) in enumerate(zip(cuts, ends, lengths, strict=True))
    ]


def joined(parts: Sequence[str], rng: random.Random) -> str:
    """What happens in turn, as one sentence."""
    first, *middle, last = parts
    if rng.random() < 0.5:
        return f"{first}, {''.join(f'then {part} ' for part in middle)}and {rng.choice(('then ', 'last ', 'at the end '))}{last}"
    return f"first {first}, {''.join(f'then {part}, ' for part in middle)}{rng.choice(('last', 'finally'))} {last}"
