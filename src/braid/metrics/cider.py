"""CIDEr and CIDEr-D (Vedantam et al., arXiv:1411.5726): agreement with the references in rare n-grams."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Counts = Counter[tuple[str, ...]]

ORDER = 4
SIGMA = 6.0  # of CIDEr-D's penalty on lengths that differ


@dataclass(frozen=True)
class Vector:
    """The tf-idf of one text's n-grams, its norm by order, and its length in bigrams (as the official code counts it)."""

    weights: dict[tuple[str, ...], float]
    norms: tuple[float, ...]
    length: int


class Cider:
    """Scores against document frequencies taken once from a corpus of references."""

    def __init__(self, corpus: Iterable[Sequence[Counts]]) -> None:
        """``corpus`` holds each item's references; an n-gram's document frequency is the number of items that have it."""
        self._documents: Counter[tuple[str, ...]] = Counter()
        items = 0
        for references in corpus:
            items += 1
            self._documents.update({gram for reference in references for gram in reference})
        self._log_items = math.log(max(items, 1))

    def vector(self, counts: Counts) -> Vector:
        weights = {gram: count * (self._log_items - math.log(max(1, self._documents[gram]))) for gram, count in counts.items()}
        squares = [0.0] * ORDER
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        length = sum(count for gram, count in counts.items() if len(gram) == 2)
        return Vector(weights, tuple(math.sqrt(square) for square in squares), length)

    def cider_2015(self, candidate: Vector, references: Sequence[Vector]) -> float:
        """Mean cosine over orders and references, times 10."""
        return 10 * sum(_cosine(candidate, reference, clipped=False) for reference in references) / len(references)

    def cider(self, candidate: Vector, references: Sequence[Vector]) -> float:
        """CIDEr that repetition and odd lengths do not inflate, times 10."""
        return 10 * sum(_cosine(candidate, r, clipped=True) * _length_penalty(candidate, r) for r in references) / len(references)


def _cosine(candidate: Vector, reference: Vector, clipped: bool) -> float:
    products = [0.0] * ORDER
    for gram, weight in candidate.weights.items():
        other = reference.weights.get(gram)
        if other is not None:
            products[len(gram) - 1] += (min(weight, other) if clipped else weight) * other
    norms = [own * other for own, other in zip(candidate.norms, reference.norms, strict=True)]
    return sum(product / norm for product, norm in zip(products, norms, strict=True) if norm) / ORDER


def _length_penalty(candidate: Vector, reference: Vector) -> float:
    return math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
