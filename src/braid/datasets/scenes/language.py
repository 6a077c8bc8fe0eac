"""True sentences about a scene, and questions with one short answer that the question alone does not give away."""

import random
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import NamedTuple

from braid.datasets.scenes.objects import SHAPES, Background, Direction, Pair, SceneObject

NUMBERS = ("no", "one", "two", "three", "four")
SYNONYMS = {
    "small": ("small", "small", "little"),
    "large": ("large", "large", "big"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "dotted", "spotted"),
    "circle": ("circle", "circle", "disc"),
    "cross": ("cross", "cross", "plus"),
    "purple": ("purple", "purple", "violet"),
}
PAPERS = {"plain": ("plain",), "gradient": ("shaded", "graded"), "noise": ("cloudy", "mottled"), "checks": ("chequered",)}
SIDES: dict[Direction, tuple[str, ...]] = {
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
OPPOSITE: dict[Direction, Direction] = {"left": "right", "right": "left", "above": "below", "below": "above"}
ANSWERS = {
    **{str(number): (str(number), word) for number, word in enumerate(NUMBERS)},
    "0": ("0", "none"),
    "centre": ("centre", "center", "middle"),
    "small": ("small", "little"),
    "large": ("large", "big"),
}  # all correct wordings of an answer that has several
RARITY = (1.1, 0.6, 2, 5, 9)  # weights of the counts in questions; large counts occur rarely, so they get more weight

Objects = Sequence[SceneObject]
Look = Callable[[SceneObject], bool]


class Question(NamedTuple):
    """A question. The first of ``answers`` is the usual one; ``kind`` names the skill that the question needs."""

    kind: str
    text: str
    answers: tuple[str, ...]


# Captions


def captions(objects: Objects, background: Background, rng: random.Random, num: int = 5) -> tuple[str, ...]:
    """``num`` true sentences; see ``Scene.captions``."""
    result: dict[str, None] = {}
    for _ in range(12 * num):
        if len(result) == num:
            break
        sentence = rng.choice(SENTENCES)(objects, background, rng)
        if sentence:
            result[sentence] = None
    sentences = list(result)
    return tuple(sentences[i % len(sentences)] for i in range(num))


def _all(objects: Objects, background: Background, rng: random.Random) -> str:
    """A sentence about every object; objects of the same colour and shape are grouped."""
    start = rng.choice(("", "", "a picture of ", "an image with ", "there {is} "))
    verb = "is" if _groups(objects)[0][1:] == () else "are"
    return f"{start.format_map({'is': verb})}{_listed(objects, rng)}{_maybe_paper(background, rng)}"


def _counted(objects: Objects, background: Background, rng: random.Random) -> str:
    noun = rng.choice(("shape", "object"))
    total = _number(len(objects), noun, rng)
    if rng.random() < 0.5:
        return f"{total}{rng.choice((': ', ', namely '))}{_listed(objects, rng)}"
    return f"{total}{_paper(background, rng)}"


def _somewhere(objects: Objects, background: Background, rng: random.Random) -> str:
    item = rng.choice(objects)
    if item.place is None:
        return ""
    place = rng.choice(("in the {}", "at the {}") if item.place not in ("left", "right", "centre") else ("on the {}",))
    if item.place == "centre":
        place = rng.choice(("in the {}", "in the middle"))
    return f"{_a(item, rng)} {place.format(item.place)}{rng.choice(('', ' of the picture'))}{_maybe_paper(background, rng)}"


def _related(objects: Objects, background: Background, rng: random.Random) -> str:
    pairs = [(one, other, side) for one, other in permutations(objects, 2) if (side := one.direction_of(other))]
    if not pairs:
        return ""
    one, other, side = rng.choice(pairs)
    return f"{_a(one, rng)}{rng.choice((' ', ' is '))}{rng.choice(SIDES[side])} {_a(other, rng)}"


def _one(objects: Objects, background: Background, rng: random.Random) -> str:
    return f"{rng.choice(('', 'there is ', 'one can see '))}{_a(rng.choice(objects), rng)}{_paper(background, rng)}"


SENTENCES = (_all, _all, _counted, _somewhere, _related, _one)


def _groups(objects: Objects) -> list[tuple[SceneObject, ...]]:
    """Groups of objects of the same colour and shape, in order of first appearance."""
    groups: dict[Pair, tuple[SceneObject, ...]] = {}
    for item in objects:
        groups[item.colour, item.shape] = (*groups.get((item.colour, item.shape), ()), item)
    return list(groups.values())


def _listed(objects: Objects, rng: random.Random) -> str:
    names = [_group_name(group, rng) for group in _groups(objects)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _group_name(group: Objects, rng: random.Random) -> str:
    """``two large striped red circles``: an adjective is used only if it is true for the whole group, and then at random."""
    first = group[0]
    size = {item.size for item in group} == {first.size} and rng.random() < 0.5
    texture = {item.texture for item in group} == {first.texture} and rng.random() < (0.3 if first.texture == "plain" else 0.7)
    words = [first.size] * size + [first.texture] * texture + [first.colour, first.shape]
    return _number(len(group), " ".join(word(one, rng) for one in words), rng)


def _a(item: SceneObject, rng: random.Random) -> str:
    return _group_name((item,), rng)


def _number(number: int, noun: str, rng: random.Random) -> str:
    if number == 1:
        return f"{rng.choice(('one', article(noun), article(noun), article(noun)))} {noun}"
    return f"{NUMBERS[number]} {_plural(noun)}"


def word(word: str, rng: random.Random) -> str:
    """The word or a synonym, at random."""
    return rng.choice(SYNONYMS[word]) if word in SYNONYMS else word


def article(noun: str) -> str:
    """``a`` or ``an``."""
    return "an" if noun[0] in "aeiou" else "a"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")


def _paper(background: Background, rng: random.Random) -> str:
    return f" on a {rng.choice(PAPERS[background.kind])} {background.tone} background"


def _maybe_paper(background: Background, rng: random.Random) -> str:
    return _paper(background, rng) if rng.random() < 0.35 else ""


# Questions


def questions(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> tuple[Question, ...]:
    """One question of each kind that has a single true answer; see ``Scene.questions``."""
    made = [kind(objects, pairs, rng) for kind in KINDS]
    asked = [Question(kind, text, ANSWERS.get(answer, (answer,))) for kind, text, answer in filter(None, made)]
    rng.shuffle(asked)
    return tuple(asked)


Draft = tuple[str, str, str] | None  # kind, question, usual answer


def _ask_attribute(kind: str, *wordings: str) -> Callable[[Objects, Sequence[Pair], random.Random], Draft]:
    """A question about one attribute of an object that its other attributes identify."""

    def ask(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> Draft:
        item = rng.choice(objects)
        name, answer = _the(item, objects, kind, rng), getattr(item, kind)
        return (kind, rng.choice(wordings).format(name), answer) if name and answer else None

    return ask


def _ask_count(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> Draft:
    """A counting question. The number is chosen before the counted objects, so that all numbers are about equally frequent."""
    by_count: dict[int, list[str]] = {len(objects): ["object"]}
    colour, shape = rng.choice(pairs)  # most likely not in the scene
    for look_colour, look_shape in {**dict.fromkeys((item.colour, item.shape) for item in objects), (colour, shape): None}:
        for noun, matches in _nouns(look_colour, look_shape):
            by_count.setdefault(sum(map(matches, objects)), []).append(noun)
    number = rng.choices(list(by_count), [RARITY[count] for count in by_count])[0]
    noun = _plural(rng.choice(by_count[number]))
    return "count", rng.choice(("how many {} are there?", "how many {} do you see?")).format(noun), str(number)


def _nouns(colour: str, shape: str) -> tuple[tuple[str, Look], ...]:
    return (
        (f"{colour} {shape}", lambda item: (item.colour, item.shape) == (colour, shape)),
        (shape, lambda item: item.shape == shape),
        (f"{colour} object", lambda item: item.colour == colour),
    )


def _ask_whether_there(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> Draft:
    """Whether an object exists; the answer is yes half of the time. Absent objects are ones that the split can have."""
    aspect, yes = rng.randrange(3), rng.random() < 0.5
    there = {_nouns(item.colour, item.shape)[aspect][0] for item in objects}
    asked = [(item.colour, item.shape) for item in objects] if yes else pairs
    nouns = [noun for noun in (_nouns(*pair)[aspect][0] for pair in asked) if (noun in there) == yes]
    noun = rng.choice(nouns)
    return "exists", f"{rng.choice(('is there', 'can you see'))} {article(noun)} {noun}?", "yes" if yes else "no"


def _ask_beside(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> Draft:
    """A question about the shape or colour of an object beside another; no other object lies even partly on that side."""
    other = rng.choice(objects)
    side = rng.choice(tuple(OPPOSITE))
    that_way = [item for item in objects if _leans(item, other, side)]
    if len(that_way) != 1 or that_way[0].direction_of(other) != side:
        return None
    name = _the(other, objects, "", rng)
    what = rng.choice(("shape", "colour"))
    wording = rng.choice(("what {} is {} {}?",) if what == "shape" else ("what {} is the object {} {}?",))
    return ("beside", wording.format(what, rng.choice(SIDES[side]), name), getattr(that_way[0], what)) if name else None


def _leans(item: SceneObject, other: SceneObject, side: Direction) -> bool:
    by_side = {"left": item.x < other.x, "right": item.x > other.x, "above": item.y < other.y, "below": item.y > other.y}
    return by_side[side]


def _ask_whether_beside(objects: Objects, pairs: Sequence[Pair], rng: random.Random) -> Draft:
    """Whether an object is beside another; the answer is yes half of the time, otherwise the question names the opposite side."""
    if len(objects) < 2:
        return None
    one, other = rng.sample(objects, 2)
    side = one.direction_of(other)
    names = _the(one, objects, "", rng), _the(other, objects, "", rng)
    if side is None or not all(names):
        return None
    yes = rng.random() < 0.5
    words = rng.choice(SIDES[side if yes else OPPOSITE[side]])
    return "relation", f"is {names[0]} {words} {names[1]}?", "yes" if yes else "no"


KINDS = (
    _ask_attribute("colour", "what colour is {}?", "which colour does {} have?"),
    _ask_attribute("shape", "what shape is {}?", "which shape does {} have?"),
    _ask_attribute("texture", "is {} plain, striped or dotted?", "which texture does {} have?"),
    _ask_attribute("size", "is {} small or large?"),
    _ask_attribute("place", "where is {}?", "in which part of the picture is {}?"),
    _ask_count,
    _ask_whether_there,
    _ask_beside,
    _ask_whether_beside,
)
NAMES = (("shape",), ("colour", "shape"), ("colour",), ("size", "shape"), ("texture", "shape"), ("size", "colour", "shape"))


def _the(item: SceneObject, objects: Objects, hidden: str, rng: random.Random) -> str:
    """A name that identifies this object and does not mention the ``hidden`` attribute; "" if there is none."""
    fitting = []
    for attributes in NAMES:
        words = [getattr(item, attribute) for attribute in attributes]
        alike = sum(all(getattr(one, a) == w for a, w in zip(attributes, words, strict=True)) for one in objects)
        if hidden not in attributes and alike == 1:
            fitting.append(words)
    if not fitting:
        return ""
    words = rng.choice(fitting)
    return f"the {' '.join(words)}{'' if words[-1] in SHAPES else ' object'}"
