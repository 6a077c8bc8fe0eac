"""Labels against truth: accuracy, F1, AUROC, confusion; and numbers against truth.

A row has one label or several: both are truth and choice by row and class, True where the class is the row's.
"""

import numpy as np

from braid.shapes import Bool, Float, Int


def one_hot(labels: Int[np.ndarray, " rows"], classes: int) -> Bool[np.ndarray, "rows {classes}"]:
    """One label a row, as the True of its class."""
    return labels[:, None] == np.arange(classes)


def confusion(
    chosen: Int[np.ndarray, " rows"], labels: Int[np.ndarray, " rows"], classes: int
) -> Int[np.ndarray, "{classes} {classes}"]:
    """How often a row of label i (down) was taken for label j (across)."""
    return np.bincount(labels * classes + chosen, minlength=classes**2).reshape(classes, classes)


def outcomes(
    chosen: Bool[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"]
) -> Bool[np.ndarray, "rows outcomes"]:
    """What accuracy and F1 add up over rows: by class found, wrongly chosen and missed, and whether the whole row is right."""
    return np.concatenate([chosen & truth, chosen & ~truth, ~chosen & truth, (chosen == truth).all(1, keepdims=True)], 1)


def accuracy(sums: Float[np.ndarray, "*rows outcomes"]) -> Float[np.ndarray, "*rows"]:
    """The share of rows that are right in every label, of the mean of ``outcomes``; in 0..1."""
    return np.asarray(sums[..., -1])


def macro_f1(sums: Float[np.ndarray, "*rows outcomes"]) -> Float[np.ndarray, "*rows"]:
    """F1 of each class, averaged, of the sum or mean of ``outcomes``; in 0..1.

    A class that no row has and none was given counts for nothing.
    """
    result, wrong, missed = _by_class(sums)
    whole = 2 * result + wrong + missed
    f1 = 2 * result / np.where(whole, whole, 1)
    return np.asarray(f1.sum(-1) / np.maximum((whole > 0).sum(-1), 1))


def micro_f1(sums: Float[np.ndarray, "*rows outcomes"]) -> Float[np.ndarray, "*rows"]:
    """F1 over the labels of all classes together, in 0..1; where every row has one label and is given one, the accuracy."""
    result, wrong, missed = (part.sum(-1) for part in _by_class(sums))
    whole = 2 * result + wrong + missed
    return np.asarray(2 * result / np.where(whole, whole, 1))


def _by_class(sums: np.ndarray) -> list[np.ndarray]:
    return np.split(sums[..., :-1], 3, -1)


def auroc(scores: Float[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]) -> float:
    """The chance that a row of the class scores higher than another, in 0..1; a tie is half a chance (Hanley & McNeil 1982).

    NaN where all rows or none are of the class.
    """
    _, place, times = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # equal scores share the mean of their ranks
    inside, outside = int(truth.sum()), int((~truth).sum())
    if not inside or not outside:
        return float("nan")
    return float((ranks[truth].sum() - inside * (inside + 1) / 2) / (inside * outside))


def macro_auroc(scores: Float[np.ndarray, "rows classes"], truth: Bool[np.ndarray, "rows classes"]) -> float:
    """AUROC of each class against the others, averaged over the classes that have one, in 0..1; NaN where none has."""
    result = [auroc(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    known = [one for one in result if one == one]
    return sum(known) / len(known) if known else float("nan")


def regression(predicted: Float[np.ndarray, " rows"], truth: Float[np.ndarray, " rows"]) -> dict[str, float]:
    """``mae`` and ``rmse`` in the unit of the truth; ``r2`` (share of its variance explained) and ``pearson``, at most 1.

    ``r2`` is NaN where the truth never differs, ``pearson`` where either never does.
    """
    error, spread, own = predicted - truth, truth - truth.mean(), predicted - predicted.mean()
    total, both = float(spread @ spread), float(np.sqrt((spread @ spread) * (own @ own)))
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float(error @ error) / total if total else float("nan"),
        "pearson": float(spread @ own) / both if both else float("nan"),
    }
