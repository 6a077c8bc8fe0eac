"""A picture as discrete tokens: how many, in which order, of how many kinds."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """``rows`` x ``columns`` tokens, row by row, each one of ``codes``.

    A token may say several things at once: it is then a number whose digits, the lowest first, are one of each of ``parts``.
    """

    rows: int
    columns: int
    parts: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.rows * self.columns

    @property
    def codes(self) -> int:
        return math.prod(self.parts)

    @property
    def places(self) -> tuple[int, ...]:
        """What a one in each part counts for in the token."""
        return tuple(math.prod(self.parts[:part]) for part in range(len(self.parts)))
