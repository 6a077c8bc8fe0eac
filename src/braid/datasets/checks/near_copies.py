"""Which images are copies of each other: re-encoded, resized, brightened or slightly cropped.

Each step looks at fewer pairs than the one before. The first correlates small grey images: all pairs, by matrix products. The
second correlates small colour images, for the most similar pairs of each image. The third aligns two images. The number of
alignments of an image, and of all images, is bounded, because catalogue photos on white are all alike.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from braid.shapes import Bool, Float16, Float32, Int, UInt8

SIZE = 64  # of the images that are compared, pixels a side
GRID = 16  # of descriptors
FINE = 32  # of aligned images
INSETS = (0.0, 0.04, 0.08)  # borders that a descriptor leaves out, as shares of a side
FLAT = 4.0  # standard deviation of grey below which an image shows nothing, of 255
ALIKE = 0.85  # grey correlation from which a pair is a candidate
ALIKE_IN_COLOUR = 0.85  # colour correlation from which a pair is aligned
MOST = 10  # candidates of one image that are aligned
ALIGNMENTS = 400_000  # of all images
LEAST_SIDE = 0.8  # of an image that a crop may keep
LEFT_OVER = 0.19  # root mean square of the residual, as a share of the image's own contrast
LOCAL = 1.2  # the same in the worst places
STEPS = 8  # of the alignment
HOPELESS = (5.0, 3.2, 2.3, 1.8, 1.5, 1.3, 1.1)  # residuals after each step from which a pair is given up
ROWS = 512  # compared at once
PAIRS = 32  # aligned at once
GREY = np.array([0.299, 0.587, 0.114], np.float32)

Pixels = UInt8[np.ndarray, "64 64 3"]
Boxes = Float32[np.ndarray, "pairs 4"]  # left, top, right, bottom
Fine = Float32[np.ndarray, "pairs 32 32 3"]


def descriptor(pixels: Pixels) -> Float16[np.ndarray, "insets cells"]:
    """Normalised grey images, one for each of ``INSETS``; zeros for an image that shows nothing."""
    return _normalised(Image.fromarray(np.asarray(pixels, np.float32) @ GREY))


def colour_descriptor(pixels: Pixels) -> Float16[np.ndarray, "insets cells"]:
    """The same in colour."""
    return _normalised(Image.fromarray(pixels))


def _normalised(image: Image.Image) -> Float16[np.ndarray, "insets cells"]:
    rows = []
    for inset in INSETS:
        edge = inset * SIZE
        box = (edge, edge, SIZE - edge, SIZE - edge)
        small = np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX, box), np.float32).ravel()
        centred = small - small.mean()
        length = np.linalg.norm(centred)
        rows.append(centred / length if small.std() >= FLAT else np.zeros_like(centred))
    return np.stack(rows).astype(np.float16)


def candidates(
    grey: Float32[np.ndarray, "images insets cells"], colour: Float16[np.ndarray, "images insets colours"], start: int
) -> Int[np.ndarray, "pairs 3"]:
    """Pairs of images that are worth an alignment, as (first, second, rank), first < second.

    For each of the ``ROWS`` second images from ``start`` on, the ``MOST`` first ones whose colours are most alike, from rank 0.
    """
    stop, pool = min(start + ROWS, len(grey)), min(start + ROWS, len(grey), 8 * MOST)
    alike = _alike(grey, slice(start, stop), stop)
    alike[np.arange(stop) >= np.arange(start, stop)[:, None]] = 0
    kept = np.argpartition(alike, -pool, axis=1)[:, -pool:]
    rows, columns = np.nonzero(np.take_along_axis(alike, kept, 1) >= ALIKE)
    second, first = rows + start, kept[rows, columns]
    closeness = _closeness(colour, first, second)
    order = np.lexsort((-closeness, second))
    order = order[closeness[order] >= ALIKE_IN_COLOUR]
    rank = np.arange(len(order)) - np.searchsorted(second[order], second[order])
    order = order[rank < MOST]
    return np.stack([first[order], second[order], rank[rank < MOST]], 1)


def aligned(portions: Sequence[Int[np.ndarray, "pairs 3"]]) -> Int[np.ndarray, "pairs 2"]:
    """The pairs (first, second) of all portions that are aligned, those of low rank, ordered by the second image."""
    pairs = np.concatenate(portions)
    kept = np.sort(np.argsort(pairs[:, 2], kind="stable")[:ALIGNMENTS])
    result: np.ndarray = pairs[kept, :2]
    return result


def _alike(grey: Float32[np.ndarray, "images insets cells"], rows: slice, stop: int) -> Float32[np.ndarray, "rows stop"]:
    """The highest correlation of each of ``rows`` with all images before ``stop``, one of the two cropped."""
    some, others = grey[rows], grey[:stop]
    best = some[:, 0] @ others[:, 0].T
    for inset in range(1, len(INSETS)):
        np.maximum(best, some[:, 0] @ others[:, inset].T, out=best)
        np.maximum(best, some[:, inset] @ others[:, 0].T, out=best)
    result: np.ndarray = best
    return result


def _closeness(
    colour: Float16[np.ndarray, "images insets colours"], first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"]
) -> Float32[np.ndarray, " pairs"]:
    """The highest colour correlation of each pair, one of the two cropped."""
    result = np.zeros(len(first), np.float32)
    for start in range(0, len(first), ROWS):
        part = slice(start, start + ROWS)
        one, other = (colour[places[part]].astype(np.float32) for places in (first, second))
        crops = [np.einsum("pd,pid->pi", one[:, 0], other), np.einsum("pd,pid->pi", other[:, 0], one)]
        result[part] = np.max(crops, axis=(0, 2))
    return result


def are_copies(ones: Sequence[Pixels], others: Sequence[Pixels]) -> Bool[np.ndarray, " pairs"]:
    """Whether one of two images is the other, or a crop of it, up to brightness, contrast and encoding."""
    result = np.zeros(len(ones), bool)
    for start in range(0, len(ones), PAIRS):
        one, other = (np.stack(images[start : start + PAIRS]).astype(np.float32) for images in (ones, others))
        copies = residuals(one, other) < 1
        if not copies.all():
            copies[~copies] = residuals(other[~copies], one[~copies]) < 1
        result[start : start + PAIRS] = copies
    return result


def residuals(
    sources: Float32[np.ndarray, "pairs 64 64 3"], targets: Float32[np.ndarray, "pairs 64 64 3"]
) -> Float32[np.ndarray, " pairs"]:
    """How much of each target the best box of its source does not explain; below 1 is a copy.

    Gauss-Newton steps on brightness, contrast, position and size of the box. A pair that is hopeless is given up early.
    """
    number = len(sources)
    whole = np.tile(np.array([0, 0, SIZE, SIZE], np.float32), (number, 1))
    wanted = _resampled(targets, whole)
    contrast = np.maximum(wanted.std((1, 2, 3)), FLAT)
    least = np.full(number, np.inf, np.float32)
    left, boxes = np.arange(number), whole
    for step in range(STEPS):
        result = _resampled(sources[left], boxes)
        error, move = _step(result, wanted[left])
        worst = np.partition(error.max(-1).reshape(len(left), -1), -FINE, axis=1)[:, -FINE:].mean(1)
        overall = np.sqrt(np.mean(error**2, axis=(1, 2, 3)))
        least[left] = np.minimum(least[left], np.maximum(overall / LEFT_OVER, worst / LOCAL) / contrast[left])
        if step == STEPS - 1:
            break
        going = (least[left] < HOPELESS[step]) & (least[left] >= 1)
        left, boxes = left[going], _moved(boxes[going], move[going])
        if not len(left):
            break
    return least


def _resampled(images: Float32[np.ndarray, "pairs 64 64 3"], boxes: Boxes) -> Fine:
    """A box of each image with ``FINE`` pixels a side, by a triangle filter as wide as a pixel of the result."""
    across, down = _weights(boxes[:, [0, 2]]), _weights(boxes[:, [1, 3]])
    rows = down @ images.reshape(len(images), SIZE, -1)
    turned = rows.reshape(len(images), FINE, SIZE, 3).transpose(0, 2, 1, 3).reshape(len(images), SIZE, -1)
    result: np.ndarray = (across @ turned).reshape(len(images), FINE, FINE, 3).transpose(0, 2, 1, 3)
    return result


def _weights(sides: Float32[np.ndarray, "pairs 2"]) -> Float32[np.ndarray, "pairs 32 64"]:
    low, scale = sides[:, :1, None], (sides[:, 1:] - sides[:, :1])[:, :, None] / FINE
    centres = low + (np.arange(FINE, dtype=np.float32)[:, None] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(SIZE, dtype=np.float32) + 0.5 - centres) / np.maximum(scale, 1))
    result: np.ndarray = weights / weights.sum(-1, keepdims=True)
    return result


def _step(result: Fine, wanted: Fine) -> tuple[Fine, Float32[np.ndarray, "pairs 4"]]:
    """The error after the best change of brightness and contrast, and the stretch and shift of the box: x, y, in FINE pixels."""
    at = ((np.arange(FINE) + 0.5 - FINE / 2) / (FINE / 2)).astype(np.float32)
    down, along = np.gradient(result, axis=(1, 2))
    columns = [result, np.ones_like(result), along * at[None, None, :, None], along, down * at[None, :, None, None], down]
    system = np.stack(columns, 1).reshape(len(result), len(columns), -1)
    products, sums = system @ system.transpose(0, 2, 1), system @ wanted.reshape(len(result), -1, 1)
    products += 1e-6 * np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(len(columns), dtype=np.float32)
    tone = np.linalg.solve(products[:, :2, :2], sums[:, :2])
    gain, offset = tone[:, 0, 0, None, None, None], tone[:, 1, 0, None, None, None]
    error = np.abs(np.clip(gain * result + offset, 0, 255) - wanted)
    solved = np.linalg.solve(products, sums)[..., 0]
    return error, solved[:, 2:] / np.maximum(solved[:, :1], 0.1)


def _moved(boxes: Boxes, moves: Float32[np.ndarray, "pairs 4"]) -> Boxes:
    """The boxes after a step, within the image and with sides of at least ``LEAST_SIDE``."""
    result = np.empty_like(boxes)
    for axis in (0, 1):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        stretch, shift = moves[:, 2 * axis], moves[:, 2 * axis + 1]
        scale = (high - low) / FINE
        half = np.clip((high - low) / 2 + stretch * scale, LEAST_SIDE * SIZE / 2, SIZE / 2)
        middle = np.clip((low + high) / 2 + shift * scale, half, SIZE - half)
        result[:, axis], result[:, axis + 2] = np.maximum(middle - half, 0), np.minimum(middle + half, SIZE)
    return result
