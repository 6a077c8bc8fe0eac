"""Frames of animated images (GIF, WebP, PNG), and still images as clips of one frame."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from braid.media.clip import Clip
from braid.media.moments import Budget, Frames, Size, chosen, part_of

FORMATS = ("GIF", "WEBP", "PNG", "JPEG", "BMP", "TIFF")
MOVE = ("GIF", "WEBP", "PNG")
STARTS = (b"GIF8", b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
SHORTEST, USUAL = 0.011, 0.1  # seconds: browsers show a frame of less than the first for the second


def is_animation(start: bytes) -> bool:
    """Whether a file that begins so is an image."""
    return start.startswith(STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def animated_frames(content: Any, clip: Clip, number: int, size: Size, rng: np.random.Generator | None, budget: Budget) -> Frames:
    """The frames of an image in a file or in bytes.

    Raises:
        UserError: when it is too large or too long; other errors come from Pillow.
    """
    with warnings.catch_warnings(), _opened(content) as image:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # pixels are checked with a clear message
        budget.pixels(image.width, image.height)
        lengths = np.array([_length(one) for one in _decoded(image, budget)])
        ends = np.cumsum(lengths)
        start, end = part_of(clip, float(ends[-1]), budget.where)
        budget.seconds(end - start)
        times = ends - lengths
        wanted = chosen(times, start, end, number, rng)
        kept: list[np.ndarray] = []
        for place, one in enumerate(_decoded(image, budget, int(wanted[-1]) + 1)):
            if place in wanted:
                kept.append(resized(one, size, kept[0].shape if kept else None))
    return Frames(np.stack(kept), times[wanted], start, end)


def resized(image: Image.Image, size: Size, like: tuple[int, ...] | None = None) -> np.ndarray:
    """An image as upright RGB pixels, transparent parts on white, in the size of ``like`` [height, width, 3] if there is one."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        layer = upright.convert("LA" if upright.mode == "La" else "RGBA").convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    width, height = (like[1], like[0]) if like else size.of(upright.width, upright.height)
    return np.asarray(upright.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def _opened(content: Any) -> Image.Image:
    return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS)


def _decoded(image: Image.Image, budget: Budget, most: int | None = None) -> Iterator[Image.Image]:
    """The image at each of its frames, the first ``most`` of them."""
    number = getattr(image, "n_frames", 1) if image.format in MOVE else 1
    for place in range(number if most is None else most):
        image.seek(place)
        image.load()
        budget.frame()
        yield image


def _length(image: Image.Image) -> float:
    """Seconds that the current frame is shown."""
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds >= SHORTEST else USUAL
