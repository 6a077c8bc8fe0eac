"""The columns of a table: recognised as numbers, dates or categories, and fitted on training rows."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from braid.errors import UserError

NUMERIC_SHARE = 0.95  # a column with at least this share of numbers is numeric
MOST_DISTINCT = 100_000  # the most distinct values of a column that are counted
FEW = 20  # up to this many distinct values, each is a category, even if it occurs once
LOOKS_NUMERIC = 0.5  # a column of categories is told of if this share of its cells are numbers, or numbers as people write them
DIFFERENT = 0.9  # a column of categories is told of if this share of its values occurs once
DAY = 86_400.0  # seconds

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")  # ISO 8601
_WRITTEN = re.compile(r"\(?[-+]?\s?[^\w\s.,()]?\s?[-+]?\d[\d.,'’ \u00a0\u202f]*[^\w\s.,()]?\)?")  # 1,234, $3, 45%, 0,5, 3 €


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, or of dates.

    Args:
        name: the column's name.
        mean: mean of the training rows.
        std: standard deviation of the training rows; 1 for a constant column.
        dates: cells are dates and times (2024-01-31, 2024-01-31 12:00), read as days since 1970.
    """

    name: str
    kind: Literal["number"] = "number"
    mean: float = 0.0
    std: float = 1.0
    dates: bool = False

    def number(self, cell: Any) -> float | None:
        """The number of a cell, or None."""
        return to_days(cell) if self.dates else to_number(cell)

    @property
    def what(self) -> str:
        return "date, read as days since 1970" if self.dates else "number"


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

    @property
    def what(self) -> str:
        return f"category, {len(self.categories):,} known value{'' if len(self.categories) == 1 else 's'}"


Column = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class Described:
    """How a column is read.

    ``unread``: how numbers are lost because of how they are written; ``single``: that hardly any two rows have the same category;
    both are "" if nothing is odd.
    """

    column: Column
    num_values: int
    unread: str
    single: str

    def __str__(self) -> str:
        values = f"category, {self.num_values:,} value{'' if self.num_values == 1 else 's'}"
        return values if isinstance(self.column, CategoryColumn) else self.column.what


@dataclass
class _Sum:
    """Statistics of the numbers of a column."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, number: float) -> None:
        self.count += 1
        self.total += number
        self.squares += number * number

    def column(self, name: str, dates: bool) -> NumberColumn:
        mean = self.total / max(self.count, 1)
        variance = max(self.squares / max(self.count, 1) - mean * mean, 0.0)
        return NumberColumn(name, mean=mean, std=math.sqrt(variance) or 1.0, dates=dates)


@dataclass
class _Seen:
    """Statistics of one column, collected in one pass.

    ``written``: the number of cells that people read as numbers, and ``to_number`` does not; ``example``: the first of them, or
    of the cells that are neither numbers nor dates.
    """

    values: Counter[str] = field(default_factory=Counter)
    filled: int = 0
    numbers: _Sum = field(default_factory=_Sum)
    dates: _Sum = field(default_factory=_Sum)
    written: int = 0
    example: str = ""

    def add(self, value: Any) -> None:
        self.filled += 1
        text = to_category(value)
        if (number := to_number(value)) is not None:
            self.numbers.add(number)
        elif (days := to_days(value)) is not None:
            self.dates.add(days)
        else:
            is_written = _WRITTEN.fullmatch(text) is not None
            if not self.example or (is_written and not self.written):
                self.example = text
            self.written += is_written
        if text in self.values or len(self.values) < MOST_DISTINCT:
            self.values[text] += 1

    def column(self, name: str, kind: str, most: int) -> Column:
        main = max(self.numbers, self.dates, key=lambda one: one.count)
        if kind == "number" or (not kind and self.filled and main.count >= NUMERIC_SHARE * self.filled):
            return main.column(name, dates=main is self.dates)
        rare = 1 if len(self.values) > FEW else 0  # rare values train the embedding of unseen categories
        common = [value for value, times in self.values.most_common(most) if times > rare]
        return CategoryColumn(name, categories=tuple(common))

    def unread(self, column: Column, kind: str) -> str:
        """How numbers or dates are lost because of how they are written; "" if none are."""
        name, numeric, such = f"column {column.name!r}", self.numbers.count, f", such as {self.example!r}" if self.example else ""
        if isinstance(column, NumberColumn):
            lost = self.filled - (self.dates.count if column.dates else numeric)
            what = "dates" if column.dates else "numbers"
            return (
                f"{name} holds {what}; {lost:,} of its {self.filled:,} cells are not{such}, and count as missing" if lost else ""
            )
        if kind or numeric + self.dates.count + self.written < LOOKS_NUMERIC * self.filled:
            return ""
        if not self.written and len(self.values) <= FEW:  # sizes such as 36, 38, S, M
            return ""
        what, lost = (
            ("dates", self.filled - self.dates.count) if self.dates.count > numeric else ("numbers", self.filled - numeric)
        )
        return f"{name} is read as categories, because {lost:,} of its {self.filled:,} cells are not {what}{such}"

    def single(self, column: Column) -> str:
        """Whether hardly any two rows have the same category; "" if they have."""
        once = sum(times == 1 for times in self.values.values())
        if isinstance(column, NumberColumn) or len(self.values) <= FEW or once < DIFFERENT * min(self.filled, MOST_DISTINCT):
            return ""
        return f"column {column.name!r} is read as categories, and {once:,} of its {self.filled:,} cells occur once"


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
    seen = _seen(rows)
    if not any(one.filled for one in seen.values()):
        raise UserError("no training row has a value in any tabular column; map them with --columns tabular=COLUMN+COLUMN")
    given = dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")
    if absent := [name for name in given if name not in seen]:
        raise UserError(f"inputs.tabular names the column {absent[0]!r}, which the rows do not have; they have {', '.join(seen)}")
    for name in numbers:
        if not seen[name].numbers.count + seen[name].dates.count:
            raise UserError(
                f"column {name!r} is listed under numbers, but none of its values is a number; list it under categories"
            )
    return tuple(one.column(name, given.get(name, ""), most) for name, one in seen.items() if one.filled)


def described(
    rows: Iterable[Mapping[str, Any]], numbers: tuple[str, ...] = (), categories: tuple[str, ...] = ()
) -> list[Described]:
    """How the columns of these rows are read; see ``fit_columns``."""
    given = dict.fromkeys(numbers, "number") | dict.fromkeys(categories, "category")
    seen = {name: one for name, one in _seen(rows).items() if one.filled}
    columns = {name: one.column(name, given.get(name, ""), MOST_DISTINCT) for name, one in seen.items()}
    return [
        Described(column, len(seen[name].values), seen[name].unread(column, given.get(name, "")), seen[name].single(column))
        for name, column in columns.items()
    ]


def _seen(rows: Iterable[Mapping[str, Any]]) -> dict[str, _Seen]:
    """The statistics of each column, in order of appearance."""
    seen: dict[str, _Seen] = {}
    for row in rows:
        for name, value in row.items():
            one = seen.setdefault(name, _Seen())
            if value is not None:
                one.add(value)
    return seen


def to_number(value: Any) -> float | None:
    """A finite number, or None; 1_2 is a code, though Python reads it as a number."""
    if isinstance(value, str) and "_" in value:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_days(value: Any) -> float | None:
    """The days since 1970 of a date or a time in ISO 8601, or None; a time without a zone is that of UTC."""
    if not isinstance(value, str) or not _DATE.fullmatch(text := value.strip()):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:  # 2024-02-31
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() / DAY


def to_category(value: Any) -> str:
    """The name of a category; 3, 3.0 and "3" are the same, because tables of one data set mix them."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
