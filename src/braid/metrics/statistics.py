"""How sure a measured value is: bootstrap intervals over rows (Efron 1979) and t-intervals over seeds (Student 1908)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from braid.shapes import Float

RESAMPLES, SEED = 1000, 0
STEPS = 100_000  # of the integral in t_quantile: four correct digits

Metric = Callable[[Float[np.ndarray, "resamples columns"]], Float[np.ndarray, " resamples"]]


def interval(rows: Float[np.ndarray, "rows columns"], metric: Metric, share: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of a metric: ``share`` of the resampled values lie in it.

    Args:
        rows: what the metric adds up over, a row for each sample.
        metric: the metric of each row of column means; it gets one row for each resample.
    """
    return _middle(metric(_resampled(rows)), share)


@dataclass(frozen=True)
class Difference:
    """How much higher the first of two systems scores, with its 95% interval. The difference is significant where the interval
    excludes 0. ``p``, in 0..1, is two-sided: how probable a resample is that reverses the order or gives a tie."""

    difference: float
    low: float
    high: float
    p: float


def paired_difference(
    first: Float[np.ndarray, "rows columns"], second: Float[np.ndarray, "rows columns"], metric: Metric, share: float = 0.95
) -> Difference:
    """Compare two systems on the same rows with a paired bootstrap (Koehn 2004). Both use the same resamples, so rows that are
    hard for both do not blur the difference.

    Args:
        metric: as for ``interval``.
    """
    difference = float((metric(first.mean(0, keepdims=True)) - metric(second.mean(0, keepdims=True)))[0])
    differences = metric(_resampled(first)) - metric(_resampled(second))
    reversed_order = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (float(reversed_order) + 1) / (RESAMPLES + 1))  # never 0: that would take endless resamples
    return Difference(difference, *_middle(differences, share), p)


@dataclass(frozen=True)
class Spread:
    """A metric over several seeds: the mean, its t-interval, and the value of each seed. One seed has no interval."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


def over_seeds(values: Sequence[float], share: float = 0.95) -> Spread:
    """The mean of ``values`` with the interval mean +- t s / sqrt(n), which holds the true mean with probability ``share``."""
    mean, number = float(np.mean(values)), len(values)
    if number == 1:
        return Spread(mean, None, None, tuple(values))
    margin = t_quantile(number - 1, share) * float(np.std(values, ddof=1)) / number**0.5
    return Spread(mean, mean - margin, mean + margin, tuple(values))


def t_quantile(freedom: int, share: float) -> float:
    """The t for which ``share`` of Student's distribution with ``freedom`` degrees of freedom lies between -t and t.

    With t = sqrt(freedom) tan(a), the density over a is cos(a) ** (freedom - 1), up to a factor.
    """
    angles = np.linspace(0, np.pi / 2, STEPS + 1)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return float(freedom**0.5 * np.tan(np.interp(share, mass / mass[-1], angles)))


def _resampled(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "resamples columns"]:
    """The column means of each resample. Arrays of equally many rows get the same resamples, so that they pair."""
    number = len(rows)
    times = np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=RESAMPLES)
    return times @ rows / number  # sums of whole numbers are exact, so that a tie is one


def _middle(values: Float[np.ndarray, " resamples"], share: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
