"""Answers to questions about images: the official VQA accuracy (arXiv:1505.00468) and exact match of whole answers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from braid.metrics.statistics import interval
from braid.shapes import Float

METRICS = ("accuracy", "vqa-accuracy")
ENOUGH = 3  # people who gave an answer, from which on it is wholly correct

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
THOUSANDS = re.compile(r"\d,\d")
FULL_STOP = re.compile(r"\.(?!\d)")
ARTICLES = ("a", "an", "the")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(k) for k, word in enumerate(WORDS)} | {"none": "0"}
LARGER = """
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
hundred thousand million
"""  # also numbers, but the official code does not change them
NUMBER = re.compile(rf"(?:(?:\d[\d.]*%?|{'|'.join(LARGER.split())})(?: |$))+")

AnswerType = Literal["yes-no", "number", "other"]
ANSWER_TYPES: tuple[AnswerType, ...] = ("yes-no", "number", "other")

# The official list. It writes I with a capital after lower-casing everything, so contractions of I never match.
WHOLE = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't
'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've
they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've
you'd you'd've you'll you're you've
"""
# Each is found by its spellings that lack one apostrophe; one word goes the other way, as in the official list.
CONTRACTIONS = {word[:k] + word[k + 1 :]: word for word in WHOLE.split() for k, letter in enumerate(word) if letter == "'"}
CONTRACTIONS["somebody'd"] = "somebodyd"


@dataclass(frozen=True)
class AnswerScores:
    """Answers to questions, x100, higher is better: ``accuracy`` (exact match) and the official ``vqa-accuracy``."""

    per_sample: Float[np.ndarray, "rows metrics"]  # those of METRICS

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> mean over rows, x100; and ``num_samples``."""
        means = self.per_sample.mean(0).tolist()
        return dict(zip(METRICS, means, strict=True)) | {"num_samples": float(len(self.per_sample))}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric -> 95% bootstrap interval over rows."""
        return {name: interval(self.per_sample[:, [k]], lambda means: means[:, 0]) for k, name in enumerate(METRICS)}

    def by_type(self, types: Sequence[str]) -> dict[str, dict[str, float]]:
        """The metrics of each type of answer or question, the most frequent first. ``types`` names the type of each row."""
        named = np.array(types)
        return {name: AnswerScores(self.per_sample[named == name]).metrics for name, _ in Counter(types).most_common()}


def score_answers(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> AnswerScores:
    """Score one answer for each question against the answers that people gave; see ``exact_match`` and ``vqa_accuracy``."""
    pairs = list(zip(predictions, answers, strict=True))
    rows = [(exact_match(guess, given), vqa_accuracy(guess, given)) for guess, given in pairs]
    return AnswerScores(100 * np.array(rows, dtype=np.float64))


def normalised_answer(answer: str) -> str:
    """The answer as the official code compares it: lower case, numbers as digits, contractions with their apostrophe, without
    articles and punctuation.

    A punctuation mark is removed if it occurs beside a space anywhere in the answer, or if the answer has a number such as
    10,000; otherwise a space replaces it.
    """
    text = given = _line(answer)
    for mark in PUNCTUATION:
        gone = f"{mark} " in given or f" {mark}" in given or THOUSANDS.search(given)
        text = text.replace(mark, "" if gone else " ")
    words = (NUMBERS.get(word, word) for word in FULL_STOP.sub("", text).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The official VQA accuracy (arXiv:1505.00468), in 0..1, higher is better: min(people who gave this answer / 3, 1), averaged
    over the ways of leaving one person out.

    With two to four people, all the others are enough instead of 3, which makes it the share of people who gave the answer.
    One person's answer is correct or wrong. If several people all wrote the same, it is compared as written, as the official
    code does; otherwise as ``normalised_answer``.
    """
    assert answers, "a question without an answer has no accuracy"
    given, said = _line(prediction), [_line(answer) for answer in answers]
    if len(said) == 1 or len(set(said)) > 1:
        given, said = normalised_answer(given), [normalised_answer(answer) for answer in said]
    matches, others = said.count(given), len(said) - 1
    if not others:
        return float(matches)
    enough = min(ENOUGH, others)
    one_skipped = matches * min((matches - 1) / enough, 1) + (len(said) - matches) * min(matches / enough, 1)
    return one_skipped / len(said)


def exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether the prediction is one of the answers, ignoring case and spaces; higher is better.

    A comma list is a set: "lamp, Photo" is "photo,lamp". On DAQUAR this is the usual accuracy (arXiv:1410.0210).
    """
    return _parts(prediction) in map(_parts, answers)


def answer_type(answer: str) -> AnswerType:
    """The type of an answer, as in the annotations of VQA (arXiv:1505.00468): yes or no, a number in digits or words, or
    other."""
    plain = normalised_answer(answer)
    if plain in ("yes", "no"):
        return "yes-no"
    return "number" if NUMBER.fullmatch(plain) else "other"


def _line(text: str) -> str:
    return re.sub(r"[\n\t]", " ", unicodedata.normalize("NFC", text)).strip()


def _parts(answer: str) -> set[str]:
    parts = unicodedata.normalize("NFC", answer.lower()).split(",")
    return {plain for part in parts if (plain := " ".join(part.split()))}
