"""Answering only when sure: what is wrong among the answers given, by how many are given (arXiv:1705.08500)."""

from dataclasses import dataclass

import numpy as np

from braid.shapes import Float


@dataclass(frozen=True)
class RiskCoverage:
    """One point for each confidence that occurs, from the surest on: answering from that ``threshold`` up gives ``coverage``, the
    share of rows answered, and ``risk``, their mean loss. ``area`` (AURC, arXiv:1805.08206) is the mean risk over all numbers of
    rows answered, rows of one confidence coming in chance order. All in 0..1."""

    thresholds: Float[np.ndarray, " points"]
    coverage: Float[np.ndarray, " points"]
    risk: Float[np.ndarray, " points"]
    area: float

    def at_risk(self, risk: float) -> tuple[float, float]:
        """The most coverage whose risk on these rows is at most ``risk``, and its threshold; 0 and infinity where there is none.

        Found on the rows at hand, so new rows may do a little worse: choose it on val, tell it on test.
        """
        within = np.flatnonzero(self.risk <= risk)
        return (float(self.coverage[within[-1]]), float(self.thresholds[within[-1]])) if len(within) else (0.0, float("inf"))


def risk_coverage(confidences: Float[np.ndarray, " rows"], losses: Float[np.ndarray, " rows"]) -> RiskCoverage:
    """The curve of rows that were answered with these confidences and these losses (0: right, 1: wrong)."""
    distinct, place, times = np.unique(-confidences, return_inverse=True, return_counts=True)
    lost = np.bincount(place, weights=losses)
    number = np.cumsum(times)
    spread = np.cumsum(np.repeat(lost / times, times))  # what the first k rows lose, on average over the order of ties
    area = float((spread / np.arange(1, len(losses) + 1)).mean())
    return RiskCoverage(-distinct, number / len(losses), np.cumsum(lost) / number, area)
