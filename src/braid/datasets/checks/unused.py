"""Columns that have no role: which of them would be a good input, and which would give the label away."""

import re
from dataclasses import dataclass

from braid.datasets.checks.columns import described_columns
from braid.datasets.checks.leaks import LeakingColumn, leaking_columns
from braid.datasets.dataset import Rows

_ID = re.compile(r"(.*[^a-z])?(id|uuid|index)|Unnamed: \d+|.*[a-z]I[dD]", re.IGNORECASE)


@dataclass(frozen=True)
class Unused:
    """``leaks``: columns that would give the label away; ``inputs``: those that may help, if they are known before the label."""

    leaks: tuple[LeakingColumn, ...] = ()
    inputs: tuple[str, ...] = ()


def unused_columns(rows: Rows) -> Unused:
    """Test columns that have no role.

    Args:
        rows: labels, and the cells of these columns under ``tabular``.
    """
    leaks = tuple(leaking_columns(rows))
    out = {leak.name for leak in leaks}
    good = [one.column.name for one in described_columns(rows) if one.num_values > 1 and not (one.unread or one.single)]
    return Unused(leaks, tuple(name for name in good if name not in out and not _ID.fullmatch(name)))
