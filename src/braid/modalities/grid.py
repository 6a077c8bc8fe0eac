"""A picture as discrete tokens: how many, in which order, of how many kinds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """``rows`` x ``columns`` tokens, row by row, each one of ``codes``."""

    rows: int
    columns: int
    codes: int

    @property
    def length(self) -> int:
        return self.rows * self.columns
