"""BLEU-1 to BLEU-4 (Papineni et al. 2002), with the smoothing and reference lengths of COCO's caption evaluation."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from braid.shapes import Float

ORDER = 4
TINY, SMALL = 1e-15, 1e-9  # COCO's: an item without a match scores almost zero, not zero


def bleu_statistics(
    candidate: Counter[tuple[str, ...]], length: int, references: Sequence[Counter[tuple[str, ...]]], lengths: Sequence[int]
) -> Float[np.ndarray, " statistics"]:
    """What BLEU adds up over items: matches of each order, candidate n-grams of each order, length, closest reference length."""
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= reference
    matches = np.zeros(ORDER)
    for gram, count in candidate.items():
        matches[len(gram) - 1] += min(count, most[gram])
    guesses = [max(0, length - n) for n in range(ORDER)]
    closest = min(lengths, key=lambda other: (abs(other - length), other))
    return np.array([*matches, *guesses, length, closest], dtype=np.float64)


def bleu(statistics: Float[np.ndarray, "*rows statistics"]) -> Float[np.ndarray, "*rows order"]:
    """BLEU-1..4, in 0..1, of statistics that are one item's or a sum over items."""
    matches, guesses = statistics[..., :ORDER], statistics[..., ORDER : 2 * ORDER]
    precisions = (matches + TINY) / (guesses + SMALL)
    means = np.cumprod(precisions, -1) ** (1 / np.arange(1, ORDER + 1))
    ratio = (statistics[..., -2:-1] + TINY) / (statistics[..., -1:] + SMALL)
    return np.asarray(means * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0))
