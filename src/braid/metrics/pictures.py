"""How near a picture is to another, and how a codec uses its codes."""

from collections.abc import Sequence

import numpy as np

from braid.shapes import Float, Int, UInt8

WINDOW = 7  # pixels a side
STABLE = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)

Picture = UInt8[np.ndarray, "height width 3"]


def psnr(original: Picture, made: Picture) -> float:
    """Peak signal-to-noise ratio in dB, 255 the peak; of equal pictures that of half a step in one channel of one pixel."""
    squared = ((original.astype(np.float64) - made) ** 2).mean()
    return float(10 * np.log10(255**2 / max(squared, 0.25 / original.size)))


def ssim(original: Picture, made: Picture) -> float:
    """Structural similarity (Wang et al. 2004), -1..1: the mean over channels and windows of 7 x 7 pixels, evenly weighed."""
    one, other = original.astype(np.float64), made.astype(np.float64)
    mean_one, mean_other = _means(one), _means(other)
    samples = WINDOW**2
    unbiased = samples / (samples - 1)
    variance_one = unbiased * (_means(one * one) - mean_one**2)
    variance_other = unbiased * (_means(other * other) - mean_other**2)
    together = unbiased * (_means(one * other) - mean_one * mean_other)
    light = (2 * mean_one * mean_other + STABLE[0]) / (mean_one**2 + mean_other**2 + STABLE[0])
    structure = (2 * together + STABLE[1]) / (variance_one + variance_other + STABLE[1])
    return float((light * structure).mean())


def code_use(tokens: Sequence[Int[np.ndarray, " length"]], codes: int) -> dict[str, float]:
    """``code-use``: the share of codes that occur, x100; ``code-perplexity``: exp of the entropy of how often each does."""
    counts = np.bincount(np.concatenate(tokens), minlength=codes)
    share = counts[counts > 0] / counts.sum()
    return {"code-use": 100 * float((counts > 0).mean()), "code-perplexity": float(np.exp(-(share * np.log(share)).sum()))}


def _means(values: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "rows columns 3"]:
    """Of every window, from sums of sums."""
    sums = np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    w = WINDOW
    return np.asarray(sums[w:, w:] - sums[:-w, w:] - sums[w:, :-w] + sums[:-w, :-w]) / w**2
