"""Confidence: is a confidence of 0.8 right eight times in ten? Measured (ECE, risk and coverage) and fitted (calibration)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from braid.errors import UserError
from braid.shapes import Bool, Float, Int

BINS = 10  # of equal width, as is usual (arXiv:1706.04599)
STEPS = 50  # of Newton's method, which needs about six
RIDGE = 1e-4  # keeps the slope finite where the scores separate good from bad
FEWEST = 20  # rows to fit anything on
COLDEST, HOTTEST = 0.01, 100.0  # temperatures; where every row is correct the best one would be 0
HALVINGS = 30  # of the span between them: to one in a hundred million


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose confidence lies in one tenth of 0..1: their number, their mean confidence, and how many are correct."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], correct: Sequence[bool]) -> list[ReliabilityBin]:
    """The bins that are not empty, from low to high confidence."""
    sure, good = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(k / BINS, (k + 1) / BINS, int(inside.sum()), float(sure[inside].mean()), float(good[inside].mean()))
        for k in range(BINS)
        if (inside := place == k).any()
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """ECE (arXiv:1706.04599), in 0..1, lower is better: |confidence - accuracy| of each bin, averaged over rows."""
    rows = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / max(rows, 1)


@dataclass(frozen=True)
class RiskCoverage:
    """Selective prediction (arXiv:1705.08500): what is wrong among the answers given, when only confident answers are given.

    One point for each confidence that occurs, from high to low: with this ``threshold``, ``coverage`` is the share of rows that
    are answered and ``risk`` their mean loss. ``area`` (AURC, arXiv:1805.08206) is the mean risk over all numbers of answered
    rows, where rows of equal confidence come in random order. All in 0..1; a lower risk and area are better.
    """

    thresholds: Float[np.ndarray, " points"]
    coverage: Float[np.ndarray, " points"]
    risk: Float[np.ndarray, " points"]
    area: float


def risk_coverage(confidences: Float[np.ndarray, " rows"], losses: Float[np.ndarray, " rows"]) -> RiskCoverage:
    """The curve of rows with these confidences and losses (0: correct, 1: wrong)."""
    distinct, place, times = np.unique(-confidences, return_inverse=True, return_counts=True)
    lost = np.bincount(place, weights=losses)
    number = np.cumsum(times)
    spread = np.cumsum(np.repeat(lost / times, times))  # what the first k rows lose, on average over the order of ties
    area = float((spread / np.arange(1, len(losses) + 1)).mean())
    return RiskCoverage(-distinct, number / len(losses), np.cumsum(lost) / number, area)


@dataclass(frozen=True, eq=False)
class Decisions:
    """How confident each decision was, in 0..1, and whether it was correct."""

    confidences: Float[np.ndarray, " decisions"]
    correct: Bool[np.ndarray, " decisions"]

    @cached_property
    def bins(self) -> list[ReliabilityBin]:
        """The decisions by tenths of confidence."""
        return reliability(self.confidences.tolist(), self.correct.tolist())

    @cached_property
    def curve(self) -> RiskCoverage:
        """The share of wrong decisions, by the share of decisions that are made."""
        return risk_coverage(self.confidences, 1.0 - self.correct)

    @property
    def ece(self) -> float:
        """``expected_calibration_error`` x100, in 0..100; lower is better."""
        return 100 * expected_calibration_error(self.bins)

    @property
    def aurc(self) -> float:
        """The area under ``curve`` x100, in 0..100; lower is better. See ``RiskCoverage``."""
        return 100 * self.curve.area


@dataclass(frozen=True)
class Calibration:
    """The probability that a generated text is good: 1 / (1 + exp(-(``slope`` x + ``intercept``))), where x is the logit of its
    raw confidence (Platt 1999).

    Args:
        slope: factor on the logit of the raw confidence.
        intercept: added to it.
        threshold: a text is good if its own score is above this: ``cider-2015`` of a caption; 100 for a correct answer, else 0.
    """

    slope: float
    intercept: float
    threshold: float

    def probability(self, confidence: float) -> float:
        """From the mean token probability to the probability of being good, both in 0..1."""
        return float(1 / (1 + np.exp(-(self.slope * _logit(confidence) + self.intercept))))


def fit_calibration(confidences: Sequence[float], scores: Sequence[float], threshold: float | None = None) -> Calibration:
    """Fit logistic regression of "score above ``threshold``" (None: above the median) on the logit of the confidence, by Newton's
    method.

    Raises:
        UserError: with fewer than 20 rows, or where all or none are good.
    """
    least = float(np.median(scores)) if threshold is None else threshold
    good = np.asarray(scores) > least
    if len(good) < FEWEST or good.all() or not good.any():
        rows = f"{len(good)} rows, {good.sum()} of them {'better than the median' if threshold is None else 'right'}"
        raise UserError(f"{rows}, are too few to fit a confidence on; give {FEWEST} or more that differ")
    given = np.stack([[_logit(confidence) for confidence in confidences], np.ones(len(good))], 1)
    weights = np.zeros(2)
    for _ in range(STEPS):
        probability = 1 / (1 + np.exp(-given @ weights))
        gradient = given.T @ (good - probability) - RIDGE * weights
        curvature = (given * (probability * (1 - probability))[:, None]).T @ given + RIDGE * np.eye(2)
        weights = weights + np.linalg.solve(curvature, gradient)
    return Calibration(float(weights[0]), float(weights[1]), least)


def fit_temperature(logits: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]) -> float:
    """The temperature that logits are divided by, so that their softmax is the probability of each class (arXiv:1706.04599): the
    one with the least negative log-likelihood, on rows that the model was not trained on. It changes no answer.

    The likelihood is concave in 1 / temperature, so bisection of its slope finds the maximum.

    Raises:
        UserError: with fewer than 20 rows.
    """
    if len(labels) < FEWEST:
        raise UserError(f"{len(labels)} rows are too few to fit a temperature on; give {FEWEST} or more")
    below = (logits - logits.max(1, keepdims=True)).astype(np.float64)
    own = below[np.arange(len(labels)), labels]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(below / np.exp(middle))
        expected = (weights * below).sum(1) / weights.sum(1)
        low, high = (low, middle) if own.mean() > expected.mean() else (middle, high)
    return float(np.exp((low + high) / 2))


def fit_label_temperature(logits: Float[np.ndarray, "rows labels"], truth: Bool[np.ndarray, "rows labels"]) -> float:
    """``fit_temperature`` where a row has several labels, each with a sigmoid: two classes, with the logits 0 and its own."""
    flat = logits.reshape(-1)
    return fit_temperature(np.stack([np.zeros_like(flat), flat], 1), truth.reshape(-1).astype(int))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Decisions on rows that a fit has not seen: their confidence in 0..1 without it (``raw``) and with it (``fitted``), and
    whether they were correct."""

    raw: Float[np.ndarray, " decisions"]
    fitted: Float[np.ndarray, " decisions"]
    correct: Bool[np.ndarray, " decisions"]


@runtime_checkable
class Outcomes(Protocol):
    """Rows that a confidence can be fitted on and measured on."""

    def fit(self, rows: Int[np.ndarray, " some"]) -> Any:
        """The calibration or temperature under which these rows' outcomes are most probable."""

    def measure(self, fitted: Any, rows: Int[np.ndarray, " some"]) -> HeldOut: ...


def cross_fit(outcomes: Outcomes, num_rows: int, seed: int = 0) -> tuple[HeldOut, HeldOut]:
    """Fit on a random half of the rows and measure on the other, then the other way round. Each row is measured once, by a fit
    that has not seen it.

    Raises:
        UserError: with fewer than 40 rows.
    """
    if num_rows < 2 * FEWEST:
        raise UserError(f"{num_rows} rows are too few to fit on one half and measure on the other; give {2 * FEWEST} or more")
    order = np.random.default_rng(seed).permutation(num_rows)
    one, other = order[: num_rows // 2], order[num_rows // 2 :]
    return outcomes.measure(outcomes.fit(one), other), outcomes.measure(outcomes.fit(other), one)


@dataclass(frozen=True, eq=False)
class TextOutcomes:
    """Generated texts: their raw confidences and their scores. Good means a score above ``threshold`` (None: above the median of
    the rows that are fitted)."""

    confidences: Float[np.ndarray, " rows"]
    scores: Float[np.ndarray, " rows"]
    threshold: float | None = None

    def fit(self, rows: Int[np.ndarray, " some"]) -> Calibration:
        return fit_calibration(self.confidences[rows].tolist(), self.scores[rows].tolist(), self.threshold)

    def measure(self, fitted: Calibration, rows: Int[np.ndarray, " some"]) -> HeldOut:
        raw = self.confidences[rows]
        probabilities = np.array([fitted.probability(float(confidence)) for confidence in raw])
        return HeldOut(raw, probabilities, self.scores[rows] > fitted.threshold)


@dataclass(frozen=True, eq=False)
class LabelOutcomes:
    """Chosen labels: the logits (up to a constant for each row), the true label of each row, and which decisions were correct. A
    decision is a row, or, where labels are ``multiple``, a label of a row.

    A row whose true label is unknown to the model (its ``truth`` is all False) is not fitted on, but it is measured.
    """

    logits: Float[np.ndarray, "rows labels"]
    truth: Bool[np.ndarray, "rows labels"]
    correct: Bool[np.ndarray, "rows decisions"]
    multiple: bool

    def fit(self, rows: Int[np.ndarray, " some"]) -> float:
        if self.multiple:
            return fit_label_temperature(self.logits[rows], self.truth[rows])
        known = rows[self.truth[rows].any(1)]
        return fit_temperature(self.logits[known], self.truth[known].argmax(1))

    def measure(self, fitted: float, rows: Int[np.ndarray, " some"]) -> HeldOut:
        return HeldOut(self._confidences(rows, 1.0), self._confidences(rows, fitted), self.correct[rows].reshape(-1))

    def _confidences(self, rows: Int[np.ndarray, " some"], temperature: float) -> Float[np.ndarray, " decisions"]:
        logits = self.logits[rows] / temperature
        if self.multiple:
            return 1 / (1 + np.exp(-np.abs(logits))).reshape(-1)
        return 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(inside / (1 - inside)))
