"""The columns of tabular inputs: how each is read, and what is odd about it. No file is opened."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from braid.config import kinds
from braid.datasets.checks.defects import Defect
from braid.datasets.dataset import Rows
from braid.modalities import InputModalityConfig
from braid.modalities.tabular import Described, described


def described_columns(rows: Rows) -> list[Described]:
    """How each column of the rows' tabular inputs is read."""
    roles = [kind for kind, config in kinds(InputModalityConfig).items() if config.parts]
    return [one for role in roles for one in described(_cells(rows, role))]


def _cells(rows: Rows, role: str) -> Iterator[Mapping[str, Any]]:
    return (fields[role] for row in rows if role in (fields := row.fields))


def odd_columns(columns: Sequence[Described]) -> list[Defect]:
    unread = [Defect("numbers that are not read", (), one.unread) for one in columns if one.unread]
    return unread + [Defect("categories that occur once", (), one.single) for one in columns if one.single and not one.unread]
