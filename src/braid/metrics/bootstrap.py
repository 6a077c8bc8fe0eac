"""How far a figure may be from the truth, by resampling the items it was measured on (Efron 1979)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braid.shapes import Float

RESAMPLES, SEED = 1000, 0

Figure = Callable[[Float[np.ndarray, "resamples columns"]], Float[np.ndarray, " resamples"]]


def interval(items: Float[np.ndarray, "items columns"], metric: Figure, share: float = 0.95) -> tuple[float, float]:
    """The percentile interval that holds ``share`` of the resampled figures.

    Args:
        figure: the figure of each row of mean columns: items that are drawn again, averaged.
    """
    return _middle(metric(_resampled(items)), share)


@dataclass(frozen=True)
class Difference:
    """By how much the first of two systems scores higher: the figure itself, the interval around it, and ``p``, the two-sided
    chance of a resample in which the order is the other one or a tie. It is real where the interval lies on one side of 0."""

    difference: float
    low: float
    high: float
    p: float


def paired_difference(
    first: Float[np.ndarray, "items columns"], second: Float[np.ndarray, "items columns"], metric: Figure, share: float = 0.95
) -> Difference:
    """Two systems on the same items: both are resampled with the same items (Koehn 2004), so that what makes an item hard for
    both does not blur their difference.

    Args:
        figure: as for ``interval``.
    """
    message = float((metric(first.mean(0, keepdims=True)) - metric(second.mean(0, keepdims=True)))[0])
    differences = metric(_resampled(first)) - metric(_resampled(second))
    other_way = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (float(other_way) + 1) / (RESAMPLES + 1))  # never 0: that would take endless resamples
    return Difference(message, *_middle(differences, share), p)


def _resampled(items: Float[np.ndarray, "items columns"]) -> Float[np.ndarray, "resamples columns"]:
    """The mean of the items of each resample; as many items are drawn in the same way, so that they pair."""
    number = len(items)
    times = np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=RESAMPLES)
    return times @ items / number  # sums of whole numbers are exact, so that a tie is one


def _middle(metrics: Float[np.ndarray, " resamples"], share: float) -> tuple[float, float]:
    low, high = np.quantile(metrics, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
