"""Columns that give the label away: by their values, by the label's name, or by a rule that is right on rows it never saw.

No file is opened.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from braid.config import kinds
from braid.datasets.checks.defects import Defect
from braid.datasets.dataset import Rows
from braid.modalities import InputModalityConfig
from braid.modalities.labels import MOST_NUMBERS
from braid.modalities.tabular.columns import to_number
from braid.records import Example
from braid.shapes import Bool, Float, Int

PURE = 0.99  # minimum share of one label among the rows of a value that gives it away
CHANCE = 1e-4  # maximum probability that all rows of a value have one label by chance
COVERED = 0.1  # minimum share of rows with such values in a leaking column
SAME = 0.95  # minimum share of rows in which the column equals the label, or names it
RIGHT = 0.98  # minimum share of held-out rows whose label a rule finds
FEWER = 0.2  # maximum share of the errors of the commonest label that such a rule makes
EXPLAINED = 0.99  # minimum share of a number's variance that a rule explains on held-out rows
NUMERIC = 0.95  # minimum share of values that are numbers in a column of numbers
SEED = 7791  # of the choice of held-out rows
FEWEST = 20  # rows below which a share means nothing
MOST = 100_000  # maximum counted pairs of value and label per column

_WORD = re.compile(r"[^\W_]+")

Pairs = Counter[tuple[str, str]]  # of value and label -> rows


@dataclass(frozen=True)
class LeakingColumn:
    """A column that gives the label away in a ``share`` of the labelled rows; ``why`` says how."""

    name: str
    share: float
    why: str

    def __str__(self) -> str:
        return f"column {self.name!r} gives the label away in {self.share:.0%} of rows: {self.why}"


def leaking_columns(rows: Rows) -> list[LeakingColumn]:
    """Find columns of tabular inputs (such as ``tabular``) that tell the label, in part or whole.

    A value gives the label away if nearly all of its rows have the same label, and there are too many of them for chance. A
    column leaks if such values cover a tenth of the rows, if the column equals or names the label, or if a rule that was made
    from half of the rows (the label of the nearest number, or of the same value) is right on nearly all of the others.
    """
    roles = [kind for kind, config in kinds(InputModalityConfig).items() if config.parts]
    pairs: dict[str, Pairs] = {}
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


def of_columns(rows: Rows) -> list[Defect]:
    return [Defect("leak: a column repeats the label", (), str(column)) for column in leaking_columns(rows)]


def _label(row: Example) -> str:
    """The label of a row; several are joined to one text, and "" means none."""
    label = row.fields.get("label", "")
    return label if isinstance(label, str) else " | ".join(sorted(label))


def _spelled(cell: object) -> str:
    """The same spelling for 3, 3.0 and "3"."""
    return str(cell).strip().removesuffix(".0")


def _leaking(name: str, counts: Pairs, labels: Counter[str]) -> LeakingColumn | None:
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
            return LeakingColumn(name, result.total() / total, f"{value!r} is always {label!r}")
    named = _naming(counts, labels)
    if named.total() >= SAME * total:
        value = named.most_common(1)[0][0][0]
        return LeakingColumn(name, named.total() / total, f"it names the label, as in {_short(value)!r}")
    return _ruled(name, counts, labels)


def _naming(counts: Pairs, labels: Mapping[str, int]) -> Pairs:
    """The pairs whose value has the words of its label, and of no other label that is as long: folders of a path, for example."""
    names: dict[tuple[str, ...], str] = {tuple(_WORD.findall(label.lower())): label for label in labels}
    lengths = sorted({len(words) for words in names if words}, reverse=True)

    def named(value: str) -> str:
        words = _WORD.findall(value.lower())
        for length in lengths:
            parts = (tuple(words[start : start + length]) for start in range(len(words) - length + 1))
            if found := {names[part] for part in parts if part in names}:
                return found.pop() if len(found) == 1 else ""
        return ""

    return Counter({pair: times for pair, times in counts.items() if named(pair[0]) == pair[1]})


def _ruled(name: str, counts: Pairs, labels: Counter[str]) -> LeakingColumn | None:
    """A column whose values alone predict the label of rows that were held out."""
    pairs = np.fromiter(counts.values(), np.int64, len(counts))
    values, numeric = _values([value for value, _ in counts])
    kept = np.repeat(np.arange(len(pairs)), pairs * np.isfinite(values))
    held = np.random.default_rng(SEED).random(len(kept)) < 0.5
    share = len(kept) / labels.total()
    if len(kept) < FEWEST or share < COVERED or held.all() or not held.any():
        return None
    amounts = np.array([math.nan if (number := to_number(label)) is None else number for _, label in counts])[kept]
    if len(labels) > MOST_NUMBERS and np.isfinite(amounts).all():
        explained = _explained(values[kept], amounts, held) if numeric else 0.0
        why = f"its values alone explain {explained:.1%} of the label on rows that were held out"
        return LeakingColumn(name, share, why) if explained >= EXPLAINED else None
    codes = {label: code for code, label in enumerate(labels)}
    right, usual = _right(values[kept], np.array([codes[label] for _, label in counts])[kept], held, numeric)
    by_chance = usual ** int(held.sum()) > CHANCE
    why = f"its values alone tell the label of {right:.0%} of rows that were held out"
    return (
        LeakingColumn(name, right * share, why) if right >= RIGHT and 1 - right <= FEWER * (1 - usual) and not by_chance else None
    )


def _values(values: Sequence[str]) -> tuple[Float[np.ndarray, " pairs"], bool]:
    """A column's values as numbers, and whether they are numbers: categories are counted, and what is no number is NaN."""
    numbers = [to_number(value) for value in values]
    if sum(number is not None for number in numbers) >= NUMERIC * len(values):
        return np.array([math.nan if number is None else number for number in numbers]), True
    codes = {value: float(code) for code, value in enumerate(dict.fromkeys(values))}
    return np.array([codes[value] for value in values]), False


def _right(
    values: Float[np.ndarray, " rows"], labels: Int[np.ndarray, " rows"], held: Bool[np.ndarray, " rows"], numeric: bool
) -> tuple[float, float]:
    """The shares of held-out rows that have the commonest label of their value, or of the nearest number, and the commonest
    label of all rows, which a category that is new gets, too."""
    distinct, place = np.unique(values[~held], return_inverse=True)
    pairs, times = np.unique(np.stack([place, labels[~held]]), axis=1, return_counts=True)
    order = np.lexsort((times, pairs[0]))
    commonest = pairs[1][order][np.append(np.flatnonzero(np.diff(pairs[0][order])), len(order) - 1)]
    nearest = _nearest(distinct, values[held])
    usual = np.bincount(labels[~held]).argmax()
    known = numeric | (distinct[nearest] == values[held])
    answers = np.where(known, commonest[nearest], usual)
    return float((answers == labels[held]).mean()), float((labels[held] == usual).mean())


def _explained(values: Float[np.ndarray, " rows"], amounts: Float[np.ndarray, " rows"], held: Bool[np.ndarray, " rows"]) -> float:
    """The share of the variance of held-out numbers that the mean of the nearest value's rows explains."""
    distinct, place = np.unique(values[~held], return_inverse=True)
    means = np.bincount(place, amounts[~held]) / np.bincount(place)
    errors = means[_nearest(distinct, values[held])] - amounts[held]
    return 1 - float((errors**2).mean()) / max(float(amounts[held].var()), 1e-12)


def _nearest(distinct: Float[np.ndarray, " values"], asked: Float[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """The place of the nearest of sorted values."""
    after = np.minimum(np.searchsorted(distinct, asked), len(distinct) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(asked - distinct[before] < distinct[after] - asked, before, after)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
