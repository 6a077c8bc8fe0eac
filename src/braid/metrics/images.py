"""Images: PSNR and SSIM of pairs; FID, KID, precision and recall of sets, from a model's features; use of a codec's codes."""

from collections.abc import Sequence

import numpy as np

from braid.shapes import Float, Int, UInt8

WINDOW = 7  # pixels a side
STABLE = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
NEIGHBOURS = 3
ROWS = 2000  # rows of distances in memory at once

Pixels = UInt8[np.ndarray, "height width 3"]

Features = Float[np.ndarray, "rows width"]
Others = Float[np.ndarray, "others width"]


def psnr(original: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB; higher is better. Equal images get the value of an
    error of half a step in one channel of one pixel, so that it is finite."""
    squared = ((original.astype(np.float64) - other) ** 2).mean()
    return float(10 * np.log10(255**2 / max(squared, 0.25 / original.size)))


def ssim(original: Pixels, other: Pixels) -> float:
    """Structural similarity (Wang et al. 2004), in -1..1, higher is better: the mean over channels and windows of 7 x 7 pixels,
    uniformly weighted."""
    first, second = original.astype(np.float64), other.astype(np.float64)
    mean_first, mean_second = _window_means(first), _window_means(second)
    samples = WINDOW**2
    unbiased = samples / (samples - 1)
    variance_first = unbiased * (_window_means(first * first) - mean_first**2)
    variance_second = unbiased * (_window_means(second * second) - mean_second**2)
    covariance = unbiased * (_window_means(first * second) - mean_first * mean_second)
    light = (2 * mean_first * mean_second + STABLE[0]) / (mean_first**2 + mean_second**2 + STABLE[0])
    structure = (2 * covariance + STABLE[1]) / (variance_first + variance_second + STABLE[1])
    return float((light * structure).mean())


def _window_means(values: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "rows columns 3"]:
    """Of every window, from cumulative sums."""
    sums = np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    w = WINDOW
    return np.asarray(sums[w:, w:] - sums[:-w, w:] - sums[w:, :-w] + sums[:-w, :-w]) / w**2


def code_use(tokens: Sequence[Int[np.ndarray, " length"]], codes: int) -> dict[str, float]:
    """How a codec uses its ``codes``; higher is better. ``code-use``: the share that occurs, x100. ``code-perplexity``: exp of
    the entropy of their frequencies, in 1..codes."""
    counts = np.bincount(np.concatenate(tokens), minlength=codes)
    share = counts[counts > 0] / counts.sum()
    return {"code-use": 100 * float((counts > 0).mean()), "code-perplexity": float(np.exp(-(share * np.log(share)).sum()))}


def frechet_distance(one: Features, other: Others) -> float:
    """Frechet distance between Gaussians with the means and covariances of the two sets (FID, arXiv:1706.08500): 0 and up, lower
    is better, 0 for equal sets.

    With fewer rows than features, the covariance does not have full rank, and the value depends on the number of rows.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    covariance, others = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ others @ root), 0, None)).sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(max(apart + np.trace(covariance) + np.trace(others) - 2 * shared, 0.0))


def kernel_distance(one: Features, other: Others) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / width + 1)^3, unbiased (KID, arXiv:1801.01401): lower is better,
    about 0 for sets from the same distribution (slightly negative values occur)."""
    one, other = one.astype(np.float64), other.astype(np.float64)

    def kernel(a: Features, b: Others) -> Float[np.ndarray, "rows others"]:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Features) -> float:
        result = kernel(a, a)
        return float((result.sum() - np.trace(result)) / (len(a) * (len(a) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def precision_recall(generated: Features, real: Others) -> tuple[float, float]:
    """Precision and recall of generated images (arXiv:1904.06991), both in 0..1, higher is better: the share of generated images
    that lie near real ones, and of real images that lie near generated ones. Near means: no farther from one of them than its
    third nearest neighbour."""
    return _covered(generated, real), _covered(real, generated)


def _covered(rows: Features, by: Others) -> float:
    reach = np.concatenate([np.sort(part, 1)[:, min(NEIGHBOURS, len(by) - 1)] for part in _distances(by, by)])
    return float(np.mean(np.concatenate([(part <= reach).any(1) for part in _distances(rows, by)])))


def _distances(one: Features, other: Others) -> list[Float[np.ndarray, "part others"]]:
    """Squared distances, in parts of a few rows."""
    squares = (other**2).sum(1)
    parts = [one[first : first + ROWS] for first in range(0, len(one), ROWS)]
    return [np.clip((part**2).sum(1, keepdims=True) + squares - 2 * part @ other.T, 0, None) for part in parts]
