"""CIDEr (Vedantam et al., arXiv:1411.5726): agreement with the references in n-grams, the rare ones counting most.

The paper has two versions. ``cider`` is CIDEr-D, which coco-caption prints as "CIDEr": what papers and leaderboards report.
``cider-2015`` is the unclipped one. Its values are higher, and it rewards repetition.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from braid.metrics.tokenizers import Counts

ORDER = 4
SIGMA = 6.0  # of the penalty on lengths that differ, in words


@dataclass(frozen=True)
class TfIdf:
    """The tf-idf weights of one text's n-grams, their norm by order, and the text's length in bigrams (as coco-caption counts
    it)."""

    weights: dict[tuple[str, ...], float]
    norms: tuple[float, ...]
    length: int


class Cider:
    """CIDEr with document frequencies that are taken once from a corpus of references."""

    def __init__(self, corpus: Iterable[Sequence[Counts]]) -> None:
        """``corpus`` holds each item's references; an n-gram's document frequency is the number of items that have it."""
        self._documents: Counter[tuple[str, ...]] = Counter()
        items = 0
        for references in corpus:
            items += 1
            self._documents.update({gram for reference in references for gram in reference})
        self._log_items = math.log(max(items, 1))

    def vector(self, counts: Counts) -> TfIdf:
        """The tf-idf vector of a text: count x log(items / document frequency) for each n-gram."""
        weights = {gram: count * (self._log_items - math.log(max(1, self._documents[gram]))) for gram, count in counts.items()}
        squares = [0.0] * ORDER
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        length = sum(count for gram, count in counts.items() if len(gram) == 2)
        return TfIdf(weights, tuple(math.sqrt(square) for square in squares), length)

    def cider(self, candidate: TfIdf, references: Sequence[TfIdf]) -> float:
        """CIDEr as coco-caption prints it (CIDEr-D), in 0..10, higher is better.

        10 x the mean, over references and orders 1 to 4, of the cosine with clipped weights times
        exp(-(difference of lengths)^2 / (2 x 6^2)). Repeated words and odd lengths do not raise it.
        """
        return 10 * sum(_cosine(candidate, r, clipped=True) * _length_penalty(candidate, r) for r in references) / len(references)

    def cider_2015(self, candidate: TfIdf, references: Sequence[TfIdf]) -> float:
        """The first CIDEr of the paper, in 0..10, higher is better: 10 x the mean cosine over references and orders 1 to 4."""
        return 10 * sum(_cosine(candidate, reference, clipped=False) for reference in references) / len(references)


def _cosine(candidate: TfIdf, reference: TfIdf, clipped: bool) -> float:
    """The mean cosine over orders; ``clipped`` limits a candidate's weight to the reference's."""
    products = [0.0] * ORDER
    for gram, weight in candidate.weights.items():
        other = reference.weights.get(gram)
        if other is not None:
            products[len(gram) - 1] += (min(weight, other) if clipped else weight) * other
    norms = [own * other for own, other in zip(candidate.norms, reference.norms, strict=True)]
    return sum(product / norm for product, norm in zip(products, norms, strict=True) if norm) / ORDER


def _length_penalty(candidate: TfIdf, reference: TfIdf) -> float:
    return math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
