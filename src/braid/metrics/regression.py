"""Numbers against truth: mean errors, explained variance and correlation."""

import numpy as np

from braid.shapes import Float


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
