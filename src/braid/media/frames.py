"""Frames of a clip: of a video file, an animated image, a still image, or an array."""

import os
from contextlib import ExitStack
from typing import Any

import numpy as np
from PIL import Image

from braid.errors import UserError
from braid.media.animation import animated_frames, is_animation, resized
from braid.media.clip import Clip
from braid.media.container import video_frames
from braid.media.moments import Budget, FrameLimits, Frames, Size, chosen, part_of
from braid.media.opened import opened, where_of

START = 4096  # bytes that tell a kind of file
LIMITS = FrameLimits()
SAVE_AS = "MP4 with H.264"
ALL = Clip(b"")  # no part, but all seconds of a clip


def read_frames(
    value: Any,
    source: str = "",
    number: int = 8,
    side: int = 224,
    square: bool = True,
    rng: np.random.Generator | None = None,
    limits: FrameLimits = LIMITS,
) -> Frames:
    """Read at most ``number`` frames of a clip, at evenly spread moments.

    Args:
        value: a path, the bytes of a file, a ``Clip``; or frames in memory: [frames, height, width, 3] uint8, or a list of
            images.
        source: the origin of the value, for messages.
        side: pixels a side of a frame: of the square, or of the shorter side if the proportions are kept.
        square: squash frames to squares.
        rng: takes random moments instead of evenly spread ones.
    Raises:
        UserError: naming the file, when it is missing, no video, damaged, too large, too long, or takes too long.
    """
    clip = value if isinstance(value, Clip) else ALL
    content: Any = value.file if isinstance(value, Clip) else value
    size = Size(side, square)
    budget = Budget(limits, where_of(content, source, "video"))
    if isinstance(content, np.ndarray | list | tuple) or hasattr(content, "__array__"):
        return _from_memory(content, clip, number, size, rng, budget)
    if not isinstance(content, str | os.PathLike | bytes | bytearray | memoryview):
        kind = type(content).__name__
        raise UserError(f"{budget.where}: expected a video (path, bytes, Clip, or array of frames), found {kind}")
    with opened(content, budget.where, "video", SAVE_AS) as place, ExitStack() as stack:
        file = stack.enter_context(open(place, "rb")) if isinstance(place, str) else place
        return _from_file(file, clip, number, size, rng, budget)


def _from_file(file: Any, clip: Clip, number: int, size: Size, rng: np.random.Generator | None, budget: Budget) -> Frames:
    start = file.read(START)
    file.seek(0)
    read = animated_frames if is_animation(start) else video_frames
    return read(file, clip, number, size, rng, budget)


def _from_memory(content: Any, clip: Clip, number: int, size: Size, rng: np.random.Generator | None, budget: Budget) -> Frames:
    """Frames of an array or a list of images; without times, each is taken to last a second."""
    frames: Any = content if isinstance(content, list | tuple) else _array(content, budget.where)
    if not len(frames):
        raise UserError(f"{budget.where} has no frames; give at least one")
    start, end = part_of(clip, float(len(frames)), budget.where)
    times = np.arange(len(frames), dtype=np.float64)
    places = chosen(times, start, end, number, rng)
    kept: list[np.ndarray] = []
    for place in places:
        image = _image(frames[place], f"{budget.where}: frame {place + 1}")
        budget.pixels(image.width, image.height)
        budget.frame()
        kept.append(resized(image, size, kept[0].shape if kept else None))
    return Frames(np.stack(kept), times[places], start, end)


def _array(value: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # tensors on a GPU, or with a gradient
        reason = str(error).partition(".")[0]
        raise UserError(f"{where}: a {type(value).__name__} that numpy cannot read ({reason}); give a numpy array") from None
    if array.ndim != 4 or array.shape[3] not in (1, 3, 4) or array.dtype != np.uint8 or 0 in array.shape[1:]:
        raise UserError(f"{where}: frames must be uint8 [frames, height, width, 3]; these are {array.dtype} {list(array.shape)}")
    return array


def _image(value: Any, where: str) -> Image.Image:
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and 0 not in value.shape:
        if value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 1):
            return Image.fromarray(value.reshape(value.shape[:2]))
        if value.ndim == 3 and value.shape[2] in (3, 4):
            return Image.fromarray(value)
    raise UserError(f"{where}: expected an image or an array of uint8 [height, width, 3], found {type(value).__name__}")
