"""The grid of tokens that a codec makes of an image."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """``rows`` x ``columns`` tokens in row-major order, each in 0 .. ``codes`` - 1.

    A token may combine several codes: it is then a number with mixed radix ``parts``, the lowest digit first.
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
        """The place value of each part in a token."""
        return tuple(math.prod(self.parts[:part]) for part in range(len(self.parts)))
