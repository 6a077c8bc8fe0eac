"""Which moments of a clip are looked at, and what reading them may cost."""

import time
from dataclasses import dataclass, field

import numpy as np

from braid.errors import UserError
from braid.media.clip import Clip
from braid.shapes import Float, Int, UInt8

ROUNDING = 1e-6  # seconds: a frame that appears at a moment is the one on screen then


@dataclass(frozen=True)
class FrameLimits:
    """What reading one clip may cost. A clip that costs more is an error, and never holds up the others.

    ``decoding`` is checked before every packet and after every frame. The opening of a file and the decoding of a single frame
    are not interrupted; ``pixels`` bounds what a single frame takes.

    Args:
        seconds: of the clip, or of the part of it that is read.
        pixels: of one frame.
        frames: that are decoded.
        decoding: seconds on the clock.
    """

    seconds: float = 600.0
    pixels: int = 36_000_000  # a frame of 8K
    frames: int = 20_000
    decoding: float = 30.0


@dataclass(frozen=True)
class Frames:
    """Frames of a clip, upright, in order. ``times`` are the seconds at which each is shown, from the beginning of the file; the
    part that they are from goes from ``start`` to ``end``."""

    pixels: UInt8[np.ndarray, "frames height width 3"]
    times: Float[np.ndarray, " frames"]
    start: float
    end: float


@dataclass(frozen=True)
class Size:
    """How large frames are made: a square of ``side`` pixels, or the shorter side has ``side`` pixels."""

    side: int
    square: bool

    longest: int = 8  # the longer side has at most so many times the pixels of the shorter one

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a frame that has these proportions."""
        if self.square:
            return self.side, self.side
        scale, most = self.side / min(width, height), self.longest * self.side
        return min(most, max(1, round(width * scale))), min(most, max(1, round(height * scale)))


@dataclass
class Budget:
    """What is left of the limits while a clip is read; ``where`` names it in messages."""

    limits: FrameLimits
    where: str
    frames: int = 0
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """
        Raises:
            UserError: when decoding took too long.
        """
        if time.monotonic() - self.started > self.limits.decoding:
            raise UserError(
                f"{self.where} takes more than {self.limits.decoding:g} s to decode; make it smaller or cut it, "
                "or raise decoding_limit of the input"
            )

    def frame(self) -> None:
        """Count a frame that was decoded.

        Raises:
            UserError: when there were too many, or decoding took too long.
        """
        self.frames += 1
        if self.frames > self.limits.frames:
            raise UserError(f"{self.where} needs more than {self.limits.frames:,} decoded frames; save it with more keyframes")
        self.check()

    def pixels(self, width: int, height: int) -> None:
        """
        Raises:
            UserError: for a frame that is too large, or has no pixels.
        """
        if width < 1 or height < 1:
            raise UserError(f"{self.where} is {width} x {height}; it has no pixels")
        if width * height > self.limits.pixels:
            most = self.limits.pixels // 1_000_000
            raise UserError(f"{self.where} is {width} x {height}; frames of at most {most} megapixels are read, make it smaller")

    def seconds(self, length: float) -> None:
        """
        Raises:
            UserError: for a part that is too long.
        """
        if length > self.limits.seconds:
            raise UserError(
                f"{self.where} is longer than the {self.limits.seconds:,g} s that are read; give a part of it, "
                "or raise seconds_limit of the input"
            )


def part_of(clip: Clip, end: float, where: str) -> tuple[float, float]:
    """The seconds of a file that lasts until ``end`` which the clip means.

    Raises:
        UserError: when the clip starts after the file ends.
    """
    if clip.start >= end > 0:
        raise UserError(f"{where} ends at {end:.2f} s, and the part starts at {clip.start:g} s; correct its start")
    return clip.start, end if clip.end is None else min(end, clip.end)


def chosen(
    times: Float[np.ndarray, " all"], start: float, end: float, number: int, rng: np.random.Generator | None
) -> Int[np.ndarray, " chosen"]:
    """The frames that are on screen at ``number`` moments, without repetition.

    The part is divided into segments of equal length (arXiv:1608.00859). A moment is the centre of its segment, or a random one
    of it with ``rng``. A clip with few frames gives fewer.

    Args:
        times: when each frame appears, ascending.
        start, end: the part, in the same seconds.
    """
    edges = np.linspace(start, end, number + 1)
    moments = edges[:-1] + (edges[1:] - edges[:-1]) * (0.5 if rng is None else rng.random(number))
    return np.unique(np.clip(np.searchsorted(times, moments + ROUNDING, side="right") - 1, 0, len(times) - 1))
