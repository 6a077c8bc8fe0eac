"""Which images are copies of each other: re-encoded, resized, brightened or slightly cropped.

Two steps, because hashes of a few bits confuse images that are merely composed alike. An image's
descriptor is its grey 16 x 16 thumbnail, centred and scaled to length 1, so that brightness and contrast do not count; it is
compared with those of all others, whole and with their borders cut off. Where it correlates, the images themselves are laid
over each other (Lucas and Kanade 1981, on a box and a change of brightness): they are copies if next to nothing is left over.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from braid.shapes import Float, Float16, UInt8

SIZE = 64  # of the images that are compared, pixels a side
GRID = 16  # of descriptors
FINE = 32  # where images are laid over each other
INSETS = (0.0, 0.04, 0.08)  # borders that a descriptor leaves out, as shares of a side
FLAT = 4.0  # standard deviation of grey below which an image shows nothing, of 255
ALIKE = 0.85  # correlation from which two images are looked at closely
LEAST_SIDE = 0.8  # of an image that a crop may keep
LEFT_OVER = 0.19  # root mean square of what is left over, as a share of the image's own contrast
LOCAL = 1.2  # the same in the worst places
STEPS = 8  # of the alignment
ROWS = 512  # compared at once

Pixels = UInt8[np.ndarray, "size size 3"]
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, float(SIZE), float(SIZE))


def descriptor(pixels: Pixels) -> Float16[np.ndarray, "insets cells"]:
    """One row for each of ``INSETS``; zeros for an image that shows nothing."""
    grey = np.asarray(pixels, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    image = Image.fromarray(grey)
    result = np.zeros((len(INSETS), GRID * GRID), np.float16)
    for row, inset in enumerate(INSETS):
        edge = inset * SIZE
        box = (edge, edge, SIZE - edge, SIZE - edge)
        small = np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX, box)).ravel()
        if small.std() >= FLAT:
            centred = small - small.mean()
            result[row] = centred / np.linalg.norm(centred)
    return result


def candidates(descriptors: Float16[np.ndarray, "images insets cells"]) -> Iterator[tuple[int, int]]:
    """Pairs (first, second) of images, first < second, that are worth a closer look."""
    number = len(descriptors)
    for first in range(0, number, ROWS):
        whole = descriptors[first : first + ROWS, 0].astype(np.float32)
        best = np.zeros((len(whole), number), np.float32)
        for inset in range(len(INSETS)):  # the one as it is, the other cropped; then the other way round
            np.maximum(best, whole @ descriptors[:, inset].astype(np.float32).T, out=best)
            cropped = descriptors[first : first + ROWS, inset].astype(np.float32)
            np.maximum(best, cropped @ descriptors[:, 0].astype(np.float32).T, out=best)
        for row, column in np.argwhere(best >= ALIKE):
            if first + row < column:
                yield int(first + row), int(column)


def is_copy(one: Pixels, other: Pixels) -> bool:
    """Whether one of two images is the other, or a crop of it, up to brightness, contrast and encoding."""
    return min(left_over(one, other), left_over(other, one)) < 1.0


def left_over(source: Pixels, target: Pixels) -> float:
    """How much of ``target`` the best box of ``source`` does not explain; below 1 is a copy."""
    image = Image.fromarray(source)
    wanted = _fine(Image.fromarray(target), WHOLE)
    contrast = max(float(wanted.std()), FLAT)
    box, least = WHOLE, np.inf
    for _ in range(STEPS):
        result = _fine(image, box)
        error, move = _step(result, wanted)
        local = np.sort(error.max(-1), axis=None)[-FINE:].mean()  # the worst 32 of 1,024 places
        least = min(least, max(np.sqrt(np.mean(error**2)) / LEFT_OVER, local / LOCAL) / contrast)
        box = _moved(box, move)
    return float(least)


def _fine(image: Image.Image, box: Box) -> Float[np.ndarray, "fine fine 3"]:
    return np.asarray(image.resize((FINE, FINE), Image.Resampling.BILINEAR, box), np.float64)


def _step(
    result: Float[np.ndarray, "fine fine 3"], wanted: Float[np.ndarray, "fine fine 3"]
) -> tuple[Float[np.ndarray, "fine fine 3"], Float[np.ndarray, "4"]]:
    """What the best change of brightness leaves over, and how to stretch and shift the box: x, y, in FINE pixels."""
    at = (np.arange(FINE) + 0.5 - FINE / 2) / (FINE / 2)
    down, along = np.gradient(result, axis=(0, 1))
    ones = np.ones_like(result)
    columns = [result, ones, along * at[None, :, None], along, down * at[:, None, None], down]
    system = np.stack([column.ravel() for column in columns])
    products, sums = system @ system.T, system @ wanted.ravel()
    gain, offset = np.linalg.lstsq(products[:2, :2], sums[:2], rcond=None)[0]
    error = np.abs(np.clip(gain * result + offset, 0, 255) - wanted)
    solved = np.linalg.lstsq(products, sums, rcond=None)[0]
    return error, solved[2:] / max(float(solved[0]), 0.1)


def _moved(box: Box, move: Sequence[float] | Float[np.ndarray, "4"]) -> Box:
    """The box after a step: half its sides and its middle change, within the image and down to ``LEAST_SIDE``."""
    sides = []
    for (low, high), (stretch, shift) in zip(((box[0], box[2]), (box[1], box[3])), (move[:2], move[2:]), strict=True):
        scale = (high - low) / FINE
        half = np.clip((high - low) / 2 + stretch * scale, LEAST_SIDE * SIZE / 2, SIZE / 2)
        middle = np.clip((low + high) / 2 + shift * scale, half, SIZE - half)
        sides.append((max(float(middle - half), 0.0), min(float(middle + half), float(SIZE))))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]
