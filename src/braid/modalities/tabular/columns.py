"""The columns of a table: recognised as numbers or categories, and fitted on training rows."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from braid.errors import UserError

NUMERIC_SHARE = 0.95  # a column with at least this share of numbers is numeric
MOST_DISTINCT = 100_000  # the most distinct values of a column that are counted
FEW = 20  # up to this many distinct values, each is a category, even if it occurs once


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Args:
        name: the column's name.
        mean: mean of the training rows.
        std: standard deviation of the training rows; 1 for a constant column.
    """

    name: str
    kind: Literal["number"] = "number"
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories.

    Args:
        name: the column's name.
        categories: the values of the training rows, the most frequent first; all other values share one id.
    """

    name: str
    kind: Literal["category"] = "category"
    categories: tuple[str, ...] = ()


Column = NumberColumn | CategoryColumn


@dataclass
class _Seen:
    """Statistics of one column, collected in one pass."""

    values: Counter[str] = field(default_factory=Counter)
    filled: int = 0
    numeric: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: Any) -> None:
        self.filled += 1
        if (number := to_number(value)) is not None:
            self.numeric += 1
            self.total += number
            self.squares += number * number
        text = to_category(value)
        if text in self.values or len(self.values) < MOST_DISTINCT:
            self.values[text] += 1

    def column(self, name: str, kind: str, most: int) -> Column:
        if kind == "number" or (not kind and self.filled and self.numeric >= NUMERIC_SHARE * self.filled):
            mean = self.total / max(self.numeric, 1)
            variance = max(self.squares / max(self.numeric, 1) - mean * mean, 0.0)
            return NumberColumn(name, mean=mean, std=math.sqrt(variance) or 1.0)
        rare = 1 if len(self.values) > FEW else 0  # rare values train the embedding of unseen categories
        common = [value for value, times in self.values.most_common(most) if times > rare]
        return CategoryColumn(name, categories=tuple(common))


def fit_columns(
    rows: Iterable[Mapping[str, Any]], numbers: tuple[str, ...], categories: tuple[str, ...], most: int
) -> tuple[Column, ...]:
    """Fit the columns of training rows, in order of appearance.

    Args:
        numbers, categories: columns of a given kind; the kind of other columns is recognised.
        most: maximum number of categories per column; the most frequent are kept.
    Raises:
        UserError: when there are no values, or a given column does not exist or has no numbers.
    """
    seen: dict[str, _Seen] = {}
    for row in rows:
        for name, value in row.items():
            one = seen.setdefault(name, _Seen())
            if value is not None:
                one.add(value)
    if not any(one.filled for one in seen.values()):
        raise UserError("no training row has a value in any tabular column; map them with --columns tabular=COLUMN+COLUMN")
    given = dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")
    if absent := [name for name in given if name not in seen]:
        raise UserError(f"inputs.tabular names the column {absent[0]!r}, which the rows do not have; they have {', '.join(seen)}")
    for name in numbers:
        if not seen[name].numeric:
            raise UserError(
                f"column {name!r} is listed under numbers, but none of its values is a number; list it under categories"
            )
    return tuple(one.column(name, given.get(name, ""), most) for name, one in seen.items() if one.filled)


def to_number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_category(value: Any) -> str:
    """The name of a category; 3, 3.0 and "3" are the same, because tables of one data set mix them."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
