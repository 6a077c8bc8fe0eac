"""What each of several players adds to a worth that they have together, exactly."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from braid.shapes import Float


def shapley(
    worth: Mapping[tuple[str, ...], Float[np.ndarray, "..."]], names: Sequence[str]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Shapley's value of each name: the mean of what it adds, over all orders in which names can join (Shapley 1953).

    Args:
        worth: of every subset, its names in the order of ``names``.
    """
    number, result = len(names), {}
    for name in names:
        total = np.zeros_like(worth[()])
        for subset in subsets([other for other in names if other != name]):
            weight = math.factorial(len(subset)) * math.factorial(number - len(subset) - 1) / math.factorial(number)
            joined = tuple(other for other in names if other in subset or other == name)
            total = total + weight * (worth[joined] - worth[subset])
        result[name] = np.asarray(total)
    return result


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every subset, the empty one first and all of them last."""
    return [subset for size in range(len(names) + 1) for subset in combinations(names, size)]
