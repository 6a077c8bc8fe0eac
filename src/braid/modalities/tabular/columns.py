"""The columns of a table as a model knows them: recognised as numbers or categories, and fitted on training rows."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from braid.errors import UserError

NUMERIC_SHARE = 0.95  # of a column's values that are numbers, from which it is one of numbers
MOST_DISTINCT = 100_000  # distinct values of a column that are counted
FEW = 20  # distinct values below which each is a category, even one that occurs once


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Args:
        name: the column's name.
        mean: of the training rows.
        std: of the training rows; 1 for a column that never varies.
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
        categories: the values that training showed, the commonest first; any other value has one id of its own.
    """

    name: str
    kind: Literal["category"] = "category"
    categories: tuple[str, ...] = ()


Column = NumberColumn | CategoryColumn


@dataclass
class _Seen:
    """What one pass over a column adds up."""

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
        rare = 1 if len(self.values) > FEW else 0  # what occurs once teaches what an unseen category means
        common = [value for value, times in self.values.most_common(most) if times > rare]
        return CategoryColumn(name, categories=tuple(common))


def fit_columns(
    rows: Iterable[Mapping[str, Any]], numbers: tuple[str, ...], categories: tuple[str, ...], most: int
) -> tuple[Column, ...]:
    """The columns of rows, in the order in which they first appear.

    Args:
        numbers, categories: columns whose kind is given; the kind of any other is recognised.
        most: categories of a column that are kept, the commonest.
    Raises:
        UserError: when there is no value at all, or a column is given that no row has.
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
            raise UserError(f"column {name!r} is said to hold numbers, and none of its values is one; list it under categories")
    return tuple(one.column(name, given.get(name, ""), most) for name, one in seen.items() if one.filled)


def to_number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_category(value: Any) -> str:
    """One spelling for 3, 3.0 and "3": tables of one data set write them in all three ways."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
