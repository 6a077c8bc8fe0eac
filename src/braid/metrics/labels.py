"""Labels against truth: accuracy, F1, AUROC and the confusion matrix.

A row has one label or several. Truth and choice are both arrays of rows by classes, True where the row has the class.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from braid.metrics.confidence import Decisions
from braid.metrics.statistics import interval
from braid.shapes import Bool, Float, Int


@dataclass(frozen=True)
class LabelScores:
    """The metrics of predicted label probabilities. A decision is a row where each row has one label, else a label of a row."""

    probabilities: Float[np.ndarray, "rows classes"]
    truth: Bool[np.ndarray, "rows classes"]
    counts: Bool[np.ndarray, "rows counts"]  # see label_counts
    decisions: Decisions
    multiple: bool = False

    @cached_property
    def metrics(self) -> dict[str, float]:
        """x100, higher is better: ``accuracy``, ``macro-f1``, ``micro-f1`` and ``auroc`` (the mean over classes; missing where no
        class has both rows of it and others). x100, lower is better: ``ece`` and ``aurc`` of the decisions. And
        ``num_samples``."""
        means = self.counts.mean(0)
        values = {name: float(metric(means)) for name, metric in OF_COUNTS.items()}
        area = macro_auroc(self.probabilities, self.truth)
        values |= {"auroc": area} if area == area else {}
        percent = {name: 100 * value for name, value in values.items()}
        return percent | {"ece": self.decisions.ece, "aurc": self.decisions.aurc, "num_samples": float(len(self.truth))}

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """``accuracy``, ``macro-f1`` and ``micro-f1`` -> 95% bootstrap interval over rows, x100."""
        rows = self.counts.astype(np.float64)
        return {name: interval(rows, lambda means, f=metric: 100 * f(means)) for name, metric in OF_COUNTS.items()}  # type: ignore[misc]

    @property
    def correct_rows(self) -> Bool[np.ndarray, " rows"]:
        """Whether each row is correct in every label."""
        return self.counts[:, -1]

    @cached_property
    def confusion(self) -> Int[np.ndarray, "classes classes"] | None:
        """The confusion matrix, truth down and prediction across; None where rows have several labels."""
        if self.multiple:
            return None
        return confusion_matrix(self.probabilities.argmax(1), self.truth.argmax(1), self.truth.shape[1])

    @cached_property
    def by_label(self) -> Float[np.ndarray, "classes 4"]:
        """Of each class: its number of rows, precision, recall and F1; the last three in 0..1, and 0 where undefined."""
        hits, wrong, missed = _by_class(self.counts.sum(0).astype(np.float64))
        rates = [top / np.maximum(whole, 1) for top, whole in ((hits, hits + wrong), (hits, hits + missed))]
        return np.stack([hits + missed, *rates, 2 * hits / np.maximum(2 * hits + wrong + missed, 1)], 1)


def score_labels(probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]) -> LabelScores:
    """One label for each row, as an index from 0. The most probable class is predicted; its probability is the confidence."""
    chosen, classes = probabilities.argmax(1), probabilities.shape[1]
    truth = one_hot(labels, classes)
    decisions = Decisions(probabilities.max(1), chosen == labels)
    return LabelScores(probabilities, truth, label_counts(one_hot(chosen, classes), truth), decisions)


def score_label_sets(
    probabilities: Float[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"], threshold: float = 0.5
) -> LabelScores:
    """Several labels for each row, or none: those with a probability of at least ``threshold`` are predicted. Each label of a row
    is a decision of its own."""
    chosen = probabilities >= threshold
    confidences = np.where(chosen, probabilities, 1 - probabilities)
    decisions = Decisions(confidences.reshape(-1), (chosen == truth).reshape(-1))
    return LabelScores(probabilities, truth, label_counts(chosen, truth), decisions, multiple=True)


def one_hot(labels: Int[np.ndarray, " rows"], classes: int) -> Bool[np.ndarray, "rows {classes}"]:
    """One label for each row, as the True of its class."""
    return labels[:, None] == np.arange(classes)


def confusion_matrix(
    chosen: Int[np.ndarray, " rows"], labels: Int[np.ndarray, " rows"], classes: int
) -> Int[np.ndarray, "{classes} {classes}"]:
    """How many rows of class i (down) were predicted as class j (across)."""
    return np.bincount(labels * classes + chosen, minlength=classes**2).reshape(classes, classes)


def label_counts(
    chosen: Bool[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"]
) -> Bool[np.ndarray, "rows counts"]:
    """What accuracy and F1 add up over rows: true positives, false positives and false negatives of each class, and whether the
    whole row is correct."""
    return np.concatenate([chosen & truth, chosen & ~truth, ~chosen & truth, (chosen == truth).all(1, keepdims=True)], 1)


def accuracy(counts: Float[np.ndarray, "*rows counts"]) -> Float[np.ndarray, "*rows"]:
    """The share of rows that are correct in every label, from the mean of ``label_counts``; in 0..1, higher is better."""
    return np.asarray(counts[..., -1])


def macro_f1(counts: Float[np.ndarray, "*rows counts"]) -> Float[np.ndarray, "*rows"]:
    """F1 = 2 TP / (2 TP + FP + FN) of each class, averaged over classes, from the sum or mean of ``label_counts``; in 0..1,
    higher is better. A class that neither occurs nor is predicted is left out of the average."""
    hits, wrong, missed = _by_class(counts)
    whole = 2 * hits + wrong + missed
    f1 = 2 * hits / np.where(whole, whole, 1)
    return np.asarray(f1.sum(-1) / np.maximum((whole > 0).sum(-1), 1))


def micro_f1(counts: Float[np.ndarray, "*rows counts"]) -> Float[np.ndarray, "*rows"]:
    """F1 of the labels of all classes together; in 0..1, higher is better. It equals accuracy where every row has one label."""
    hits, wrong, missed = (part.sum(-1) for part in _by_class(counts))
    whole = 2 * hits + wrong + missed
    return np.asarray(2 * hits / np.where(whole, whole, 1))


OF_COUNTS = {"accuracy": accuracy, "macro-f1": macro_f1, "micro-f1": micro_f1}


def _by_class(counts: np.ndarray) -> list[np.ndarray]:
    return np.split(counts[..., :-1], 3, -1)


def auroc(scores: Float[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]) -> float:
    """Area under the ROC curve: the probability that a row of the class scores higher than another row, where a tie counts half
    (Hanley & McNeil 1982). In 0..1, higher is better; 0.5 is random. NaN where all or none of the rows are of the class."""
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # equal scores share the mean of their ranks
    inside, outside = int(truth.sum()), int((~truth).sum())
    if not inside or not outside:
        return float("nan")
    return float((ranks[truth].sum() - inside * (inside + 1) / 2) / (inside * outside))


def macro_auroc(scores: Float[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"]) -> float:
    """AUROC of each class against the others, averaged over the classes where it is defined; in 0..1, higher is better. NaN
    where it is defined for none."""
    areas = [auroc(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    known = [one for one in areas if one == one]
    return sum(known) / len(known) if known else float("nan")


def score_values(predicted: Float[np.ndarray, " rows"], truth: Float[np.ndarray, " rows"]) -> dict[str, float]:
    """Lower is better: ``mae`` and ``rmse``, in the data's own unit. Higher is better, x100: ``r2`` = 1 - squared error /
    variance of the truth (at most 100, and negative where the mean would do better) and ``pearson`` correlation (-100..100). And
    ``num_samples``.

    ``r2`` is missing where the truth is constant, ``pearson`` where either is.
    """
    error, spread, own = predicted - truth, truth - truth.mean(), predicted - predicted.mean()
    total, both = float(spread @ spread), float(np.sqrt((spread @ spread) * (own @ own)))
    values = {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}
    values |= {"r2": 100 * (1 - float(error @ error) / total)} if total else {}
    values |= {"pearson": 100 * float(spread @ own) / both} if both else {}
    return values | {"num_samples": float(len(truth))}
