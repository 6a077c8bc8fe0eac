"""Columns that have no role: which of them would be a good input, and which would give the label away."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from braid.datasets.checks.columns import described_columns
from braid.datasets.checks.leaks import LeakingColumn, leaking_columns
from braid.datasets.dataset import Dataset, Rows
from braid.datasets.table.examples import unused_cells

_ID = re.compile(r"(.*[^a-z])?(id|uuid|index)|Unnamed: \d+|.*[a-z]I[dD]", re.IGNORECASE)


@dataclass(frozen=True)
class Unused:
    """``leaks``: columns that would give the label away; ``inputs``: those that may help, if they are known before the label."""

    leaks: tuple[LeakingColumn, ...] = ()
    inputs: tuple[str, ...] = ()


def unused_columns(dataset: Dataset, columns: Mapping[str, str]) -> Unused:
    """Test the columns of a table that have no role; the table is read a second time for it.

    Args:
        columns: roles to columns, with which the data set was opened.
    """
    if not dataset.unused:
        return Unused()
    rows = Rows(unused_cells(Path(dataset.path), columns, dataset.unused))
    leaks = tuple(leaking_columns(rows))
    out = {leak.name for leak in leaks}
    good = [one.column.name for one in described_columns(rows) if one.num_values > 1 and not (one.unread or one.single)]
    return Unused(leaks, tuple(name for name in good if name not in out and not _ID.fullmatch(name)))
