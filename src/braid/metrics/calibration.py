"""Is a confidence of 0.8 right eight times in ten? Fitting it, and measuring it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from braid.errors import UserError
from braid.shapes import Bool, Float, Int

BINS = 10  # of equal width, as is usual (arXiv:1706.04599)
STEPS = 50  # of Newton's method, which needs about six
RIDGE = 1e-4  # keeps the slope finite where the scores separate good from bad
FEWEST = 20  # rows to fit anything on
COLDEST, HOTTEST = 0.01, 100.0  # temperatures; where every row is right the likeliest would be 0
HALVINGS = 30  # of the span between them: to one in a hundred million


@dataclass(frozen=True)
class Calibration:
    """The chance that a text is good: 1 / (1 + exp(-(``slope`` x + ``intercept``))), x the logit of its raw confidence
    (Platt 1999). Good means a score of its own above ``threshold``: of a caption, its ``cider-2015``; of an answer, 100 if it is
    right and else 0."""

    slope: float
    intercept: float
    threshold: float

    def chance(self, confidence: float) -> float:
        """From the mean token probability to the chance of being good, both in 0..1."""
        return float(1 / (1 + np.exp(-(self.slope * _logit(confidence) + self.intercept))))


def fit_calibration(confidences: Sequence[float], scores: Sequence[float], threshold: float | None = None) -> Calibration:
    """Logistic regression of "better than ``threshold``" (None: than the median score) on the logit of the confidence, by
    Newton's method.

    Raises:
        UserError: with fewer than 20 rows, or where all are good or none is.
    """
    least = float(np.median(scores)) if threshold is None else threshold
    good = np.asarray(scores) > least
    if len(good) < FEWEST or good.all() or not good.any():
        told = f"{len(good)} rows, {good.sum()} of them {'better than the median' if threshold is None else 'right'}"
        raise UserError(f"{told}, are too few to fit a confidence on; give {FEWEST} or more that differ")
    given = np.stack([[_logit(confidence) for confidence in confidences], np.ones(len(good))], 1)
    weights = np.zeros(2)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-given @ weights))
        gradient = given.T @ (good - chance) - RIDGE * weights
        curvature = (given * (chance * (1 - chance))[:, None]).T @ given + RIDGE * np.eye(2)
        weights = weights + np.linalg.solve(curvature, gradient)
    return Calibration(float(weights[0]), float(weights[1]), least)


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose confidence lies in one tenth of 0..1: how sure they are on average, and how often they are right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> list[ReliabilityBin]:
    """The bins that hold anything, from unsure to sure."""
    sure, good = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(k / BINS, (k + 1) / BINS, int(inside.sum()), float(sure[inside].mean()), float(good[inside].mean()))
        for k in range(BINS)
        if (inside := place == k).any()
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """ECE (arXiv:1706.04599): the gap between confidence and accuracy, averaged over rows, in 0..1."""
    rows = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / max(rows, 1)


def fit_temperature(logits: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]) -> float:
    """What to divide logits by so that their softmax is the chance of each class (arXiv:1706.04599): the temperature of the
    least negative log-likelihood, on rows that the model was not trained on. It changes no answer.

    The likelihood is concave in 1 / temperature, so its one summit lies where the slope changes its sign.

    Raises:
        UserError: with fewer than 20 rows.
    """
    if len(labels) < FEWEST:
        raise UserError(f"{len(labels)} rows are too few to fit a temperature on; give {FEWEST} or more")
    below = (logits - logits.max(1, keepdims=True)).astype(np.float64)
    right = below[np.arange(len(labels)), labels]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(below / np.exp(middle))
        expected = (weights * below).sum(1) / weights.sum(1)
        low, high = (low, middle) if right.mean() > expected.mean() else (middle, high)
    return float(np.exp((low + high) / 2))


def fit_label_temperature(logits: Float[np.ndarray, "rows labels"], truth: Bool[np.ndarray, "rows labels"]) -> float:
    """``fit_temperature`` where a row has several labels, each with a sigmoid of its own: a choice between its logit and 0."""
    flat = logits.reshape(-1)
    return fit_temperature(np.stack([np.zeros_like(flat), flat], 1), truth.reshape(-1).astype(int))


@dataclass(frozen=True, eq=False)
class Measured:
    """How sure decisions were, in 0..1, without a fit (``raw``) and with it (``fitted``), and whether they were right."""

    raw: Float[np.ndarray, " decisions"]
    fitted: Float[np.ndarray, " decisions"]
    right: Bool[np.ndarray, " decisions"]


@runtime_checkable
class Outcomes(Protocol):
    """Rows that a confidence can be fitted on and measured on."""

    def fit(self, rows: Int[np.ndarray, " some"]) -> Any:
        """What makes these rows' confidences the likeliest chances of being right."""

    def measure(self, fitted: Any, rows: Int[np.ndarray, " some"]) -> Measured: ...


def cross_fit(outcomes: Outcomes, num_rows: int, seed: int = 0) -> tuple[Measured, Measured]:
    """Fit on a random half of the rows, measure on the other, and the other way round: each row is measured once, by a fit that
    has not seen it.

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
    """Texts written with these raw confidences, and what each is worth; good is more than ``threshold`` (None: than the median
    of the rows that are fitted)."""

    confidences: Float[np.ndarray, " rows"]
    scores: Float[np.ndarray, " rows"]
    threshold: float | None = None

    def fit(self, rows: Int[np.ndarray, " some"]) -> Calibration:
        return fit_calibration(self.confidences[rows].tolist(), self.scores[rows].tolist(), self.threshold)

    def measure(self, fitted: Calibration, rows: Int[np.ndarray, " some"]) -> Measured:
        raw = self.confidences[rows]
        chances = np.array([fitted.chance(float(confidence)) for confidence in raw])
        return Measured(raw, chances, self.scores[rows] > fitted.threshold)


@dataclass(frozen=True, eq=False)
class LabelOutcomes:
    """Labels by their logits (up to a constant a row), the label that each row should have been given, and whether each decision
    was right: a row's, or a label's of a row where labels are ``multiple``.

    A row whose label is none of these (a ``truth`` without a True) says nothing of the likeliest temperature; it is measured.
    """

    logits: Float[np.ndarray, "rows labels"]
    truth: Bool[np.ndarray, "rows labels"]
    right: Bool[np.ndarray, "rows decisions"]
    multiple: bool

    def fit(self, rows: Int[np.ndarray, " some"]) -> float:
        if self.multiple:
            return fit_label_temperature(self.logits[rows], self.truth[rows])
        known = rows[self.truth[rows].any(1)]
        return fit_temperature(self.logits[known], self.truth[known].argmax(1))

    def measure(self, fitted: float, rows: Int[np.ndarray, " some"]) -> Measured:
        return Measured(self._sure(rows, 1.0), self._sure(rows, fitted), self.right[rows].reshape(-1))

    def _sure(self, rows: Int[np.ndarray, " some"], temperature: float) -> Float[np.ndarray, " decisions"]:
        logits = self.logits[rows] / temperature
        if self.multiple:
            return 1 / (1 + np.exp(-np.abs(logits))).reshape(-1)
        return 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)


def _logit(chance: float) -> float:
    inside = min(max(chance, 1e-6), 1 - 1e-6)
    return float(np.log(inside / (1 - inside)))
