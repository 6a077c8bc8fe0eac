"""Files -> Examples, one file a format; a data set is recognised by what it holds."""

from collections.abc import Callable, Mapping
from pathlib import Path

from braid.datasets import lines, table
from braid.datasets.dataset import BrokenRow, Dataset
from braid.errors import UserError

FORMATS: tuple[tuple[Callable[[Path], bool], Callable[[Path, Mapping[str, str]], Dataset]], ...] = (
    (table.recognise, table.open_table),
    (lines.recognise, lines.open_lines),
)

__all__ = ["BrokenRow", "Dataset", "open_dataset"]


def open_dataset(path: str | Path, columns: Mapping[str, str] | None = None) -> Dataset:
    """Open a file or folder of any supported format.

    Raises:
        UserError: when there is nothing there, or nothing recognised.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{place} does not exist; check the path")
    for recognise, open_format in FORMATS:
        if recognise(place):
            return open_format(place, columns or {})
    raise UserError(f"{place}: no data set recognised there")
