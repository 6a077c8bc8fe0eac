"""Columns of a table that give the label away, because they are filled in when it is known."""

import math
from collections import Counter
from dataclasses import dataclass

from braid.config import kinds
from braid.datasets.checks.defects import Defect
from braid.datasets.dataset import Rows
from braid.modalities import InputModalityConfig
from braid.records import Example

PURE = 0.99  # share of one label among the rows of a value that gives it away
CHANCE = 1e-4  # probability that so many rows of a value have one label by chance, below which it is not chance
COVERED = 0.1  # share of rows with such a value, from which the column is a leak
SAME = 0.95  # share of rows in which the column is the label itself
FEWEST = 20  # rows below which a share means nothing
MOST = 100_000  # pairs of value and label of a column that are counted


@dataclass(frozen=True)
class LeakingColumn:
    """A column that gives the label away: ``share`` of the rows with a label have a value that determines it.

    ``value`` and ``label`` are the commonest such pair.
    """

    name: str
    value: str
    label: str
    share: float

    def __str__(self) -> str:
        return f"column {self.name!r} gives the label away in {self.share:.0%} of rows: {self.value!r} is always {self.label!r}"


def leaking_columns(rows: Rows) -> list[LeakingColumn]:
    """The columns of a table's row (such as ``tabular``) that repeat the label, in part or whole.

    A value gives the label away when nearly all of its rows have one label, and too many for chance. A column leaks when such
    values cover a tenth of the rows, or when it is the label itself. An id, which is unique a row, has no such values.
    """
    roles = [kind for kind, config in kinds(InputModalityConfig).items() if config.parts]
    pairs: dict[str, Counter[tuple[str, str]]] = {}
    labels: Counter[str] = Counter()
    for row in rows:
        if label := _label(row):
            labels[label] += 1
            for name, cell in ((name, cell) for role in roles for name, cell in row.fields.get(role, {}).items()):
                counts = pairs.setdefault(name, Counter())
                if cell is not None and ((pair := (_spelled(cell), label)) in counts or len(counts) < MOST):
                    counts[pair] += 1
    if labels.total() < FEWEST or len(labels) < 2:
        return []
    results = (_leaking(name, counts, labels) for name, counts in pairs.items())
    return [result for result in results if result]


def _label(row: Example) -> str:
    """The label of a row, several in one text; "" where it has none."""
    label = row.fields.get("label", "")
    return label if isinstance(label, str) else " | ".join(sorted(label))


def _spelled(cell: object) -> str:
    """One spelling for 3, 3.0 and "3"."""
    return str(cell).strip().removesuffix(".0")


def _leaking(name: str, counts: Counter[tuple[str, str]], labels: Counter[str]) -> LeakingColumn | None:
    total = labels.total()
    needed = math.log(CHANCE) / math.log(max(labels.values()) / total)
    rows_of = Counter[str]()
    for (value, _), times in counts.items():
        rows_of[value] += times
    same = Counter({pair: times for pair, times in counts.items() if pair[0].lower() == _spelled(pair[1]).lower()})
    pure = Counter({pair: times for pair, times in counts.items() if needed <= times >= PURE * rows_of[pair[0]]})
    for result, least in ((same, SAME), (pure, COVERED)):
        if result.total() >= least * total:
            (value, label), _ = result.most_common(1)[0]
            return LeakingColumn(name, value, label, result.total() / total)
    return None


def of_columns(rows: Rows) -> list[Defect]:
    return [Defect("leak: a column repeats the label", (), str(column)) for column in leaking_columns(rows)]
