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

    @property
    def length(self) -> float:
        """Seconds; infinite if only the file knows its end."""
        return math.inf if self.end is None else self.end - self.start
