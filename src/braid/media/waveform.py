"""A waveform as an image: how loud a recording is, from its beginning to its end."""

from itertools import pairwise

import numpy as np

from braid.shapes import Float32, UInt8

PAPER, INK = (255, 253, 249), (120, 104, 84)
FAINTEST = 0.02  # peaks below it are drawn as they are; louder recordings fill the height


def waveform(samples: Float32[np.ndarray, " n"], width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    """The lowest and the highest sample of each column of pixels, around the middle line."""
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    level = max(float(np.abs(samples).max(initial=0.0)), FAINTEST)
    parts = [samples[first : max(last, first + 1)] for first, last in pairwise(edges)]
    lows, highs = (np.array([edge(part) if len(part) else 0.0 for part in parts]) / level for edge in (np.min, np.max))
    rows = (np.arange(height)[:, None] + 0.5) / height * 2 - 1
    inside = (rows >= -highs - 1 / height) & (rows <= -lows + 1 / height)
    return np.where(inside[..., None], np.array(INK, np.uint8), np.array(PAPER, np.uint8))
