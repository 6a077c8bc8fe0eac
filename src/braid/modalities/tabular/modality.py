"""The tabular modality: the numbers and categories of a row -> arrays, one position per column."""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from braid.config import did_you_mean, within
from braid.errors import Missing, UserError
from braid.modalities.cells import is_empty, text_cell
from braid.modalities.tabular.columns import Column, NumberColumn, fit_columns, to_category
from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, Float32

LIMIT = 10.0  # standard deviations; larger numbers are clipped
UNSEEN = 0  # the id of categories that training did not have
KEPT = 0.5  # share of the cells that a corrupted row keeps


class PreparedRow(NamedTuple):
    """One row: a standardised number or a category id per column. ``mask`` is False where a cell is missing."""

    values: Float32[np.ndarray, " columns"]
    mask: Bool[np.ndarray, " columns"]


@dataclass(frozen=True)
class TabularModalityConfig:
    """The columns of a row: numbers are standardised, categories get ids. Missing cells and unseen categories are allowed.

    Args:
        numbers: columns of numbers; the kind of a column in neither list is recognised on the training rows.
        categories: columns of categories, such as codes that look like numbers.
        max_categories: maximum number of categories per column; rarer ones share an id.
        column_dropout: probability that a training row loses a cell, so that the model learns missing cells; not saved with a
            model.
        table: the fitted columns; a run fills them in.
    """

    kind: Literal["tabular"] = "tabular"
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    max_categories: int = 200
    column_dropout: float = 0.1
    table: tuple[Column, ...] = ()

    columns: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[frozenset[str]] = frozenset()
    input_name: ClassVar[str] = "tabular"
    parts: ClassVar[bool] = True
    timed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        within(self, 1, 1_000_000, "max_categories")
        within(self, 0, 1, "column_dropout")
        if both := set(self.numbers) & set(self.categories):
            raise UserError(f"column {min(both)!r} is listed under numbers and under categories; keep one of them")

    def build(self, tokenizer: object = None) -> "TabularModality":
        return TabularModality(self)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "TabularModalityConfig":
        if self.table:
            return self
        return replace(self, table=fit_columns(values, self.numbers, self.categories, self.max_categories))

    def cheaper(self) -> "TabularModalityConfig":
        return self

    def augmenting(self) -> "TabularModalityConfig":
        return self

    def in_use(self) -> "TabularModalityConfig":
        return replace(self, column_dropout=0.0)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table)

    def summary(self) -> str:
        number = f"{len(self.table)} column{'' if len(self.table) == 1 else 's'}"
        return f"{number}: {', '.join(f'{one.name} ({one.what})' for one in self.table)}" if self.table else "columns of a table"

    def fields(self) -> list[dict[str, Any]]:
        return [
            {"name": column.name, "type": "date" if column.dates else "number"}
            if isinstance(column, NumberColumn)
            else {"name": column.name, "type": "choice", "choices": list(column.categories)}
            for column in self.table
        ]

    @staticmethod
    def key(value: Any) -> Hashable:
        return tuple(sorted((name, to_category(cell)) for name, cell in value.items() if cell is not None))

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> dict[str, float | str | None]:
        """The cells by column; an empty cell is None.

        Raises:
            Missing: when all cells are empty.
        """
        row = {name: None if is_empty(cell) else _cell(cell, name) for name, cell in cells.items()}
        if all(cell is None for cell in row.values()):
            names = ", ".join(map(repr, cells))
            raise Missing(f"column {names} is empty; fill it in or remove the row")
        return row

    @staticmethod
    def from_json(value: Any) -> dict[str, float | str | None]:
        if not isinstance(value, Mapping):
            raise UserError(f'expected an object of columns such as {{"price": 12}}, found {type(value).__name__}')
        return {str(name): None if is_empty(cell) else _cell(cell, str(name)) for name, cell in value.items()}

    @staticmethod
    def parse(text: str) -> dict[str, float | str | None]:
        """``price=12,brand=Acme``, or a JSON object."""
        if text.lstrip().startswith("{"):
            try:
                return TabularModalityConfig.from_json(json.loads(text))
            except json.JSONDecodeError as error:
                raise UserError(f"{text!r} is not a JSON object ({error.msg})") from None
        cells: dict[str, float | str | None] = {}
        for part in filter(str.strip, text.split(",")):
            name, equals, cell = part.partition("=")
            if not equals:
                raise UserError(f"{text!r}: write column=value pairs, for example price=12,brand=Acme")
            cells[name.strip()] = cell.strip() or None
        return cells

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        return json.dumps(value, ensure_ascii=False).encode(), ".json"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        cells = {name: "" if cell is None else to_category(cell) for name, cell in value.items()}
        return View(", ".join(f"{name} {cell}" for name, cell in cells.items() if cell), cells)

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> dict[str, Any]:
        """The row with half of its cells missing."""
        return {name: cell if rng.random() < KEPT else None for name, cell in value.items()}


class TabularModality:
    """{column: cell} -> ``PreparedRow``; several of them -> ``values [n, columns]``, ``mask [n, columns]``."""

    shared: ClassVar[bool] = True

    def __init__(self, config: TabularModalityConfig) -> None:
        self.config = config
        self._ids = {
            column.name: {category: place for place, category in enumerate(column.categories, UNSEEN + 1)}
            for column in config.table
            if not isinstance(column, NumberColumn)
        }

    @property
    def augments(self) -> bool:
        return self.config.column_dropout > 0

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> PreparedRow:
        """Standardise the numbers and look up the categories of one row.

        Raises:
            UserError: when the value is not a row, or has a column that the model does not read.
        """
        if not isinstance(value, Mapping):
            raise UserError(f"{source or 'input'}: expected the columns of a row, found {type(value).__name__} {value!r}")
        names = self.config.names
        if unknown := [name for name in value if name not in names]:
            where = f"{source or 'input'}: there is no column {unknown[0]!r} in this model"
            raise UserError(f"{where}; {did_you_mean(str(unknown[0]), names)}")
        values, mask = np.zeros(len(names), np.float32), np.zeros(len(names), bool)
        for place, column in enumerate(self.config.table):
            number = self._number(column, value.get(column.name))
            if number is not None and (rng is None or rng.random() >= self.config.column_dropout):
                values[place], mask[place] = number, True
        return PreparedRow(values, mask)

    def _number(self, column: Column, cell: Any) -> float | None:
        """A standardised number or a category id; None for a missing cell, or text in a column of numbers."""
        if is_empty(cell):
            return None
        if not isinstance(column, NumberColumn):
            return float(self._ids[column.name].get(to_category(cell), UNSEEN))
        number = column.number(cell)
        return None if number is None else float(np.clip((number - column.mean) / column.std, -LIMIT, LIMIT))

    def pad(self, values: Sequence[PreparedRow]) -> Padded:
        return Padded(np.stack([row.values for row in values]), np.stack([row.mask for row in values]))

    def missing(self) -> PreparedRow:
        width = len(self.config.table)
        return PreparedRow(np.zeros(width, np.float32), np.zeros(width, bool))

    def example(self) -> tuple[Padded, bool]:
        width = len(self.config.table)
        return Padded(np.zeros((3, width), np.float32), np.ones((3, width), bool)), False

    def size_of(self, value: Any) -> int:
        return 0

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """Columns. The extent of a position is the number of its column, or -1 if it represents the whole row."""
        assert extent is not None
        columns, places = np.arange(len(self.config.table))[:, None], extent[:, 0]
        return Units(self.config.names, ((places == columns) | (places < 0)) & real, kind="columns")

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Removed cells are missing."""
        return Padded(np.repeat(given.values[:1], len(kept), 0), given.mask[:1] & kept)

    def canvas(self, value: Any, source: str, size: int) -> None:
        return None


def _cell(cell: Any, name: str) -> float | str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, Real | Decimal):  # with those of numpy
        try:
            return float(cell)
        except OverflowError:
            raise UserError(f"column {name!r} holds a number of too many digits; write a smaller one") from None
    return text_cell(cell, name)
