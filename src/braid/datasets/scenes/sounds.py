"""Scenes that sound: tones and noises of different kinds, one after another, low or high, steady, rising or falling."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.datasets.scenes import language
from braid.datasets.scenes.timed import NUMBER, ORDER, Event, TimedQuestion, Wording, about_order, in_turn, joined, timed_examples
from braid.datasets.scenes.world import Scenes
from braid.records import Example
from braid.shapes import Float, Float32

RATE, SECONDS = 16_000, 3.0
LENGTHS = (0.45, 0.65)  # seconds of a sound
LEAST = 0.1  # seconds between two sounds
FADE = 0.015  # seconds until a sound has its full level, and from its last full level
LEVELS = (0.3, 0.7)  # of full scale
FLOOR = 0.002  # standard deviation of the noise behind all sounds
CAPTIONS = 5
PITCHES = {"low": (250.0, 340.0), "high": (1100.0, 1500.0)}  # hertz in the middle of a sound
COURSES = {"steady": 0.0, "rising": 1.0, "falling": -1.0}  # octaves from its beginning to its end
KINDS = (*ORDER, "pitch", "pitch")
WORDING = Wording("sound", "comes", "come")
ANSWERS = {"rising": ("rise", "rises", "rising"), "falling": ("fall", "falls", "falling")}
PARTIALS = ((1.0, 1.0), (2.7, 0.6), (5.2, 0.3))  # of a bell: times the pitch, and level

Wave = Float[np.ndarray, " samples"]


def _buzz(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(sum(np.sin(times * phase) / times for times in range(1, 7)) / 2)


def _bell(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    strokes = (level * np.sin(times * phase) * np.exp(-4 * times * seconds) for times, level in PARTIALS)
    return np.asarray(sum(strokes))


def _hiss(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    smooth = np.convolve(rng.standard_normal(len(phase)), np.hanning(40), "same")
    return np.asarray(smooth / 6 * np.sin(phase))


def _clatter(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(np.sin(phase) * np.exp(-10 * (seconds * 14 % 1)))


def _warble(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(np.sin(phase + 3 * np.sin(2 * np.pi * 9 * seconds)))


def _tone(phase: Wave, seconds: Wave, rng: np.random.Generator) -> Wave:
    return np.asarray(np.sin(phase))


TIMBRES: dict[str, Callable[[Wave, Wave, np.random.Generator], Wave]] = {
    "tone": _tone,
    "buzz": _buzz,
    "bell": _bell,
    "hiss": _hiss,
    "clatter": _clatter,
    "warble": _warble,
}
# Pairs of pitch and kind that occur only in the split `compositional`.
UNHEARD = (("low", "bell"), ("high", "buzz"), ("low", "clatter"), ("high", "hiss"))
HEARD = tuple((pitch, timbre) for timbre in TIMBRES for pitch in PITCHES if (pitch, timbre) not in UNHEARD)


@dataclass(frozen=True)
class Sound:
    """One sound from sample ``start`` to sample ``end``; ``hertz`` is its pitch in the middle, ``seed`` is for noise."""

    timbre: str
    pitch: str
    course: str
    hertz: float
    level: float
    start: int
    end: int
    seed: int

    @property
    def event(self) -> Event:
        return Event(self.timbre, self.start / RATE, self.end / RATE)

    def samples(self) -> Wave:
        number = self.end - self.start
        share, seconds = np.arange(number) / number, np.arange(number) / RATE
        phase = 2 * np.pi * np.cumsum(self.hertz * 2 ** (COURSES[self.course] * (share - 0.5))) / RATE
        wave = TIMBRES[self.timbre](phase, seconds, np.random.default_rng(self.seed))
        faded = np.clip(np.minimum(seconds, seconds[::-1]) / FADE, 0, 1)
        return np.asarray(self.level * np.clip(wave, -1, 1) * faded)


@dataclass(frozen=True)
class SoundingScene:
    """Sounds in the order of time."""

    sounds: tuple[Sound, ...]
    seed: int

    def render(self) -> Float32[np.ndarray, " samples"]:
        """The samples, mono, in -1..1."""
        result = FLOOR * np.random.default_rng(self.seed).standard_normal(round(SECONDS * RATE))
        for sound in self.sounds:
            result[sound.start : sound.end] += sound.samples()
        return result.astype(np.float32)

    def captions(self, rng: random.Random, num: int = CAPTIONS) -> tuple[str, ...]:
        """``num`` different true sentences."""
        result: dict[str, None] = {}
        while len(result) < num:
            result[rng.choice(SENTENCES)(self.sounds, rng)] = None
        return tuple(result)

    def question(self, rng: random.Random) -> TimedQuestion:
        """One question about order, or about a pitch that changes."""
        kind, moving = rng.choice(KINDS), [sound for sound in self.sounds if sound.course in ANSWERS]
        if kind == "pitch":
            sound = rng.choice(moving)
            text, event = f"does the pitch of the {sound.timbre} rise or fall?", sound.event
            return TimedQuestion(kind, text, ANSWERS[sound.course], (event.start, event.end))
        return about_order(kind, [sound.event for sound in self.sounds], WORDING, rng)


def sounding_scene(world: Scenes, split: str, k: int) -> SoundingScene:
    """Sounding scene ``k`` of a split."""
    rng = world.rng(split, k, "sounding")
    looks = _looks(UNHEARD if split == "compositional" else HEARD, rng)
    lengths = [round(rng.uniform(*LENGTHS) * RATE) for _ in looks]
    spans = in_turn(lengths, round(SECONDS * RATE), round(LEAST * RATE), rng)
    courses = [rng.choice(tuple(COURSES)) for _ in looks]
    if not set(courses) & set(ANSWERS):
        courses[rng.randrange(NUMBER)] = rng.choice(tuple(ANSWERS))
    sounds = tuple(
        Sound(timbre, pitch, course, rng.uniform(*PITCHES[pitch]), rng.uniform(*LEVELS), *span, rng.randrange(1_000_000))
        for (pitch, timbre), course, span in zip(looks, courses, spans, strict=True)
    )
    return SoundingScene(sounds, rng.randrange(1_000_000))


def _looks(pairs: Sequence[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    """Pairs of pitch and kind, in which no kind occurs twice."""
    timbres = rng.sample(sorted({timbre for _, timbre in pairs}), NUMBER)
    return [rng.choice([pair for pair in pairs if pair[1] == timbre]) for timbre in timbres]


# Captions


def _named(sound: Sound, rng: random.Random) -> str:
    words = [sound.pitch] * (rng.random() < 0.7) + [sound.course] * (sound.course in ANSWERS) + [sound.timbre]
    return f"{language.article(words[0])} {' '.join(words)}"


def _say_all(sounds: Sequence[Sound], rng: random.Random) -> str:
    return joined([_named(sound, rng) for sound in sounds], rng)


def _say_order(sounds: Sequence[Sound], rng: random.Random) -> str:
    earlier, later = (sounds[place] for place in sorted(rng.sample(range(len(sounds)), 2)))
    if rng.random() < 0.5:
        return f"{_named(earlier, rng)} before {_named(later, rng)}"
    return f"{_named(later, rng)} after {_named(earlier, rng)}"


def _say_one(sounds: Sequence[Sound], rng: random.Random) -> str:
    place = rng.randrange(len(sounds))
    return f"{_named(sounds[place], rng)} {('at the beginning', 'in the middle', 'at the end')[place]}"


SENTENCES = (_say_all, _say_all, _say_order, _say_one)


@dataclass(frozen=True)
class SceneSamples:
    """Samples that are computed each time they are read as an array: float32 [samples], ``RATE`` a second."""

    world: Scenes
    split: str
    k: int

    def __len__(self) -> int:
        return round(SECONDS * RATE)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        samples = sounding_scene(self.world, self.split, self.k).render()
        return samples if dtype is None else samples.astype(dtype)


def sounding_examples(world: Scenes, split: str, k: int, number: int) -> Iterator[Example]:
    """``number`` rows of scene ``k``: samples and rate, captions, a question with its answers and the moment that they depend
    on; the label is the sound that comes first."""
    scene = sounding_scene(world, split, k)
    fields = {"audio": (SceneSamples(world, split, k), RATE), "label": scene.sounds[0].timbre}
    return timed_examples(world, split, k, number, scene, fields)
