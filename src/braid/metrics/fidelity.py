"""How like two sets of pictures are, by the features that a model makes of them: distances, and how far each covers the other."""

import numpy as np

from braid.shapes import Float

NEIGHBOURS = 3
ROWS = 2000  # distances that are held at once

Features = Float[np.ndarray, "rows width"]
Others = Float[np.ndarray, "others width"]


def frechet_distance(one: Features, other: Others) -> float:
    """Between Gaussians of the same means and covariances (FID, arXiv:1706.08500); 0 for equal sets.

    With fewer rows than features a covariance is not of full rank, and the figure depends on the number of rows.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    covariance, others = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ others @ root), 0, None)).sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(max(apart + np.trace(covariance) + np.trace(others) - 2 * shared, 0.0))


def kernel_distance(one: Features, other: Others) -> float:
    """Squared maximum mean discrepancy under (x.y / width + 1)^3, without bias (KID, arXiv:1801.01401); about 0 for like sets."""
    one, other = one.astype(np.float64), other.astype(np.float64)

    def kernel(a: Features, b: Others) -> Float[np.ndarray, "rows others"]:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Features) -> float:
        result = kernel(a, a)
        return float((result.sum() - np.trace(result)) / (len(a) * (len(a) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def precision_recall(made: Features, real: Others) -> tuple[float, float]:
    """Share of what was made that lies among real pictures, and of real ones that lie among those made: within reach of the third
    nearest neighbour of one of them (arXiv:1904.06991)."""
    return _covered(made, real), _covered(real, made)


def _covered(rows: Features, by: Others) -> float:
    reach = np.concatenate([np.sort(part, 1)[:, min(NEIGHBOURS, len(by) - 1)] for part in _distances(by, by)])
    return float(np.mean(np.concatenate([(part <= reach).any(1) for part in _distances(rows, by)])))


def _distances(one: Features, other: Others) -> list[Float[np.ndarray, "part others"]]:
    """Squared, in parts of few rows."""
    squares = (other**2).sum(1)
    parts = [one[first : first + ROWS] for first in range(0, len(one), ROWS)]
    return [np.clip((part**2).sum(1, keepdims=True) + squares - 2 * part @ other.T, 0, None) for part in parts]
