"""A part of a recording or a clip: no file is cut, a row says where its part starts and ends."""

import math
from dataclasses import dataclass

from braid.errors import UserError


@dataclass(frozen=True)
class Clip:
    """The seconds ``start`` to ``end`` of a file; the whole of it by default.

    Args:
        file: a path, or the bytes of a file.
        start: seconds from the beginning.
        end: seconds from the beginning; None is the end of the file.
    Raises:
        UserError: when the part does not exist in any file.
    """

    file: str | bytes
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise UserError(f"start is {self.start:g} seconds; it must be 0 or more")
        if self.end is not None and not (math.isfinite(self.end) and self.end > self.start):
            raise UserError(f"end is {self.end:g} seconds, but the part starts at {self.start:g}; end it later")

    def __str__(self) -> str:
        """The part for people and for ids: ``12.5-15 s``."""
        start, end = (f"{round(side, 3):.10g}" for side in (self.start, self.end or 0.0))
        return f"{start}-{end} s" if self.end is not None else f"from {start} s"

    @property
    def length(self) -> float:
        """Seconds; infinite if only the file knows its end."""
        return math.inf if self.end is None else self.end - self.start
