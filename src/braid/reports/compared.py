"""The page that shows a comparison: the verdict, the table, figures with their intervals, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from braid.files import write_whole
from braid.metrics import Difference, Spread
from braid.reports.diagnosis import Finding
from braid.reports.dots import Figure, against_cost, intervals
from braid.reports.mermaid import count
from braid.reports.page import charts, duration, marked, table, whole_page
from braid.reports.svg import rounded

FOOTER = (
    "Behind the best, and against the controls: by how much the one is better than the other, and the interval of that. Controls "
    "are in grey and italics. The line in a chart of costs joins the cells that nothing cheaper beats. Latency is that of a row "
    "alone, from its prepared inputs to the answer; memory that of a training, at its peak."
)


@dataclass(frozen=True)
class ComparedCell:
    """``figures`` over seeds, the one that decides first; ``behind``: by how much the best cell is better; ``over``: by how much
    this one is better than each of its controls. ``training_seconds`` is the mean over seeds, ``latency_ms`` (a row alone) the
    median, ``memory_bytes`` the most."""

    name: str
    control: bool
    figures: dict[str, Spread]
    parameters: int
    training_seconds: float
    latency_ms: float
    memory_bytes: int
    behind: Difference | None
    over: dict[str, Difference]


@dataclass(frozen=True)
class Compared:
    """What a comparison found. ``cells``: the best first, without those that ``failed``; ``equals``: cells that cannot be told
    apart from the best. There is a ``winner`` only where there are none."""

    name: str
    task: str
    data: str
    split: str
    num_rows: int
    seeds: tuple[int, ...]
    metric: str
    better: Literal["higher", "lower"]
    winner: str | None
    equals: tuple[str, ...]
    cells: tuple[ComparedCell, ...]
    failed: dict[str, str]
    verdict: tuple[Finding, ...]
    notes: tuple[str, ...]


def write_compared(found: Compared, output: Path) -> None:
    """Write the page: one HTML file that opens anywhere, without a script or a network."""
    write_whole(output, compared_page(found))


def compared_page(found: Compared) -> str:
    sections = [
        ("Verdict", "".join(map(marked, found.verdict)), "findings"),
        ("Figures", _drawn(found) if found.cells else "", ""),
        ("Cells", _cells(found) if found.cells else "", "cells"),
        ("Against the controls", _over(found), "cells"),
    ]
    facts = {
        "task": found.task,
        "data": found.data,
        "scored on": f"{found.num_rows:,} rows of {found.split}" if found.cells else "",
        "seeds": ", ".join(map(str, found.seeds)),
        "cells": str(len(found.cells)),
    }
    return whole_page(found.name, _lead(found), facts, sections, " ".join([*map(escape, found.notes), FOOTER]))


def told_difference(found: Difference) -> str:
    """With its interval, all to the same place."""
    size = max(abs(found.difference), abs(found.low), abs(found.high))
    difference, low, high = (rounded(value, size) for value in (found.difference, found.low, found.high))
    return f"{difference} [{low}, {high}]"


def told_spread(found: Spread) -> str:
    """The mean, and half of its interval."""
    margin = "" if found.high is None else f" ± {rounded(found.high - found.mean, found.mean)}"
    return f"{rounded(found.mean)}{margin}"


def _lead(found: Compared) -> str:
    if not found.cells:
        return "<p>no cell could be trained</p>"
    best = found.cells[0]
    value = f'<strong class="figure">{rounded(best.figures[found.metric].mean)}</strong> {escape(found.metric)}'
    if found.winner:
        return f"<p>{value}: {escape(best.name)} wins</p>"
    return f"<p>{value}: {escape(best.name)}, the best of {len(found.cells)}, is no clear winner</p>"


def _drawn(found: Compared) -> str:
    higher, metric = found.better == "higher", found.metric
    costs = [
        ("latency", "ms a row", lambda cell: cell.latency_ms),
        ("parameters", "million parameters", lambda cell: cell.parameters / 1e6),
    ]
    drawn = [(f"{metric}, mean over seeds", intervals([_figure(cell, metric) for cell in found.cells], metric))]
    for title, across, cost in costs:
        figures = [_figure(cell, metric, cost(cell)) for cell in found.cells]
        drawn.append((f"{metric} against {title}", against_cost(figures, across, higher)))
    return charts(drawn)


def _figure(cell: ComparedCell, metric: str, cost: float = 0.0) -> Figure:
    spread = cell.figures[metric]
    return Figure(cell.name, spread.mean, spread.low, spread.high, spread.values, cost, cell.control)


def _cells(found: Compared) -> str:
    """Controls in italics; the winner stands out."""
    names = list(dict.fromkeys(name for cell in found.cells for name in cell.figures))
    costs = ["parameters", "training", "ms a row", "memory"]
    rows = [
        [
            f"<i>{escape(cell.name)}</i>" if cell.control else escape(cell.name),
            *(told_spread(cell.figures[name]) if name in cell.figures else "" for name in names),
            told_difference(cell.behind) if cell.behind else "",
            *told_costs(cell),
        ]
        for cell in found.cells
    ]
    columns = ["cell", *names, "behind the best", *costs]
    return table(columns, rows, columns[1:], strong=0 if found.winner else -1)


def told_costs(cell: ComparedCell) -> Sequence[str]:
    """Parameters, training time of a run, latency, memory."""
    memory = f"{cell.memory_bytes / 1e6:,.0f} MB"
    return count(cell.parameters), duration(cell.training_seconds), rounded(cell.latency_ms), memory


def _over(found: Compared) -> str:
    """By how much each fused cell is better than each control of its own."""
    fused = [cell for cell in found.cells if cell.over]
    controls = list(dict.fromkeys(name for cell in fused for name in cell.over))
    told = [{name: told_difference(gain) for name, gain in cell.over.items()} for cell in fused]
    rows = [[escape(cell.name), *(gains.get(name, "") for name in controls)] for cell, gains in zip(fused, told, strict=True)]
    return table(["cell", *controls], rows, controls) if fused else ""
