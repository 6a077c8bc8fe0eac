"""Sampled Shapley values of patches and words: the mean contribution of each, over random orders."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from braid.config import within
from braid.explain.subject import Attributed, Subject
from braid.shapes import Float


@dataclass(frozen=True)
class ShapleyValues:
    """Castro et al. (2009): players are added in random orders, each order also reversed (arXiv:2104.12199). Players that are not
    added yet are masked in ``Features``.

    The number of pairs of orders follows from ``evaluations`` (rows), at least two. The values of each order, and so their means,
    sum to the score of all players minus the score of none. ``standard_error`` is the mean standard error of the values, divided
    by their mean absolute value.
    """

    kind: Literal["shapley"] = "shapley"
    evaluations: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        within(self, 1, 10_000_000, "evaluations")

    def attribute(self, subject: Subject) -> Attributed:
        names, numbers = list(subject.units), [units.number for units in subject.units.values()]
        players = sum(numbers)
        pairs = max(2, self.evaluations // (2 * max(players, 1)))
        sampled = np.stack(list(self._pairs(subject, players, pairs))) if players else np.zeros((pairs, subject.num_outputs, 0))
        values = sampled.mean(0)
        errors = sampled.std(0, ddof=1) / np.sqrt(pairs)
        ends = _scored(subject, np.array([[True] * players, [False] * players]))
        checks = {
            "efficiency_gap": float(np.abs(values.sum(1) - (ends[0] - ends[1])).max()),
            "standard_error": float(errors.mean() / max(float(np.abs(values).mean()), 1e-9)) if players else 0.0,
            "orders": float(2 * pairs),
        }
        edges = np.cumsum([0, *numbers])
        return Attributed({name: values[:, edges[k] : edges[k + 1]] for k, name in enumerate(names)}, checks)

    def _pairs(self, subject: Subject, players: int, pairs: int) -> Iterator[Float[np.ndarray, "outputs players"]]:
        """Each player's contribution: the mean of a random order and its reverse."""
        rng = np.random.default_rng(self.seed)
        for _ in range(pairs):
            order = rng.permutation(players)
            yield (_added(subject, order) + _added(subject, order[::-1])) / 2


def _added(subject: Subject, order: np.ndarray) -> Float[np.ndarray, "outputs players"]:
    """Each player's contribution to the players before it in an order."""
    joined = np.zeros((len(order) + 1, len(order)), dtype=bool)
    for place, player in enumerate(order):
        joined[place + 1 :, player] = True
    result = np.empty((subject.num_outputs, len(order)))
    result[:, order] = np.diff(_scored(subject, joined), axis=0).T
    return result


def _scored(subject: Subject, joined: np.ndarray) -> Float[np.ndarray, "rows outputs"]:
    kept, first = {}, 0
    for name, units in subject.units.items():
        kept[name] = joined[:, first : first + units.number]
        first += units.number
    return subject.scored(subject.masked(kept))
