"""How far a figure may be from its mean over trainings, by the few trainings there are (Student 1908)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 100_000  # of the integral below: four right digits of the quantile


@dataclass(frozen=True)
class Spread:
    """A figure of each seed, their mean, and the t-interval around it; of one value nothing is known about the others."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


def over_seeds(values: Sequence[float], share: float = 0.95) -> Spread:
    """The mean of ``values`` with the interval mean +- t s / sqrt(n), in which the true mean lies with probability ``share``."""
    mean, number = float(np.mean(values)), len(values)
    if number == 1:
        return Spread(mean, None, None, tuple(values))
    margin = t_quantile(number - 1, share) * float(np.std(values, ddof=1)) / number**0.5
    return Spread(mean, mean - margin, mean + margin, tuple(values))


def t_quantile(freedom: int, share: float) -> float:
    """The t that holds ``share`` of Student's distribution with ``freedom`` degrees between -t and t.

    With t = sqrt(freedom) tan(a), the density over a is cos(a) ** (freedom - 1), up to a factor.
    """
    angles = np.linspace(0, np.pi / 2, STEPS + 1)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return float(freedom**0.5 * np.tan(np.interp(share, mass / mass[-1], angles)))
