"""The page of a comparison: the verdict, the table, metrics with intervals, and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from braid.files import write_whole
from braid.metrics import Difference, Spread
from braid.reports.charts import Figure, against_cost, intervals, rounded
from braid.reports.description import count
from braid.reports.page import charts, duration, marked, table, whole_page
from braid.reports.run import Finding

FOOTER = (
    "Behind the best, and against the controls: by how much the one is better than the other, and the interval of that. Controls "
    "are in grey and italics. The line in a chart of costs joins the cells that nothing cheaper beats. Latency is that of a row "
    "alone, from its prepared inputs to the answer; memory that of a training, at its peak."
)


@dataclass(frozen=True)
class ComparedCell:
    """One cell of a comparison: ``metrics`` over seeds, the main one first; ``behind``: the lead of the best cell; ``over``: this
    cell's lead over each of its controls. ``training_seconds`` is the mean over seeds, ``latency_ms`` the median (batch size 1),
    ``memory_bytes`` the maximum."""

    name: str
    control: bool
    metrics: dict[str, Spread]
    parameters: int
    training_seconds: float
    latency_ms: float
    memory_bytes: int
    behind: Difference | None
    over: dict[str, Difference]


@dataclass(frozen=True)
class Compared:
    """The result of a comparison. ``cells``: best first, without ``failed`` ones; ``equals``: cells that are not significantly
    worse than the best. There is a ``winner`` only with several seeds and without equals."""

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


def write_compared(result: Compared, output: Path) -> None:
    """Write the page: one HTML file without scripts, which needs no network."""
    write_whole(output, compared_page(result))


def compared_page(result: Compared) -> str:
    sections = [
        ("Verdict", "".join(map(marked, result.verdict)), "findings"),
        ("Metrics", _plotted(result) if result.cells else "", ""),
        ("Cells", _cells(result) if result.cells else "", "cells"),
        ("Against the controls", _over(result), "cells"),
    ]
    facts = {
        "task": result.task,
        "data": result.data,
        "scored on": f"{result.num_rows:,} rows of {result.split}" if result.cells else "",
        "seeds": ", ".join(map(str, result.seeds)),
        "cells": str(len(result.cells)),
    }
    return whole_page(result.name, _lead(result), facts, sections, " ".join([*map(escape, result.notes), FOOTER]))


def format_difference(result: Difference) -> str:
    """A difference with its interval, all with the same number of decimals."""
    size = max(abs(result.difference), abs(result.low), abs(result.high))
    difference, low, high = (rounded(value, size) for value in (result.difference, result.low, result.high))
    return f"{difference} [{low}, {high}]"


def format_spread(result: Spread) -> str:
    """The mean, and half the width of its interval."""
    margin = "" if result.high is None else f" ± {rounded(result.high - result.mean, result.mean)}"
    return f"{rounded(result.mean)}{margin}"


def _lead(result: Compared) -> str:
    if not result.cells:
        return "<p>no cell could be trained</p>"
    best = result.cells[0]
    value = f'<strong class="figure">{rounded(best.metrics[result.metric].mean)}</strong> {escape(result.metric)}'
    if result.winner:
        return f"<p>{value}: {escape(best.name)} wins</p>"
    return f"<p>{value}: {escape(best.name)}, the best of {len(result.cells)}, is no clear winner</p>"


def _plotted(result: Compared) -> str:
    higher, metric = result.better == "higher", result.metric
    costs = [
        ("latency", "ms a row", lambda cell: cell.latency_ms),
        ("parameters", "million parameters", lambda cell: cell.parameters / 1e6),
    ]
    generated = [(f"{metric}, mean over seeds", intervals([_figure(cell, metric) for cell in result.cells], metric))]
    for title, across, cost in costs:
        metrics = [_figure(cell, metric, cost(cell)) for cell in result.cells]
        generated.append((f"{metric} against {title}", against_cost(metrics, across, higher)))
    return charts(generated)


def _figure(cell: ComparedCell, metric: str, cost: float = 0.0) -> Figure:
    spread = cell.metrics[metric]
    return Figure(cell.name, spread.mean, spread.low, spread.high, spread.values, cost, cell.control)


def _cells(result: Compared) -> str:
    """The table of cells, with controls in italics and the winner highlighted."""
    names = list(dict.fromkeys(name for cell in result.cells for name in cell.metrics))
    costs = ["parameters", "training", "ms a row", "memory"]
    rows = [
        [
            f"<i>{escape(cell.name)}</i>" if cell.control else escape(cell.name),
            *(format_spread(cell.metrics[name]) if name in cell.metrics else "" for name in names),
            format_difference(cell.behind) if cell.behind else "",
            *format_costs(cell),
        ]
        for cell in result.cells
    ]
    columns = ["cell", *names, "behind the best", *costs]
    return table(columns, rows, columns[1:], strong=0 if result.winner else -1)


def format_costs(cell: ComparedCell) -> Sequence[str]:
    """Parameters, training time per run, latency, memory."""
    memory = f"{cell.memory_bytes / 1e6:,.0f} MB"
    return count(cell.parameters), duration(cell.training_seconds), rounded(cell.latency_ms), memory


def _over(result: Compared) -> str:
    """The table of each fused cell's lead over each of its controls."""
    fused = [cell for cell in result.cells if cell.over]
    controls = list(dict.fromkeys(name for cell in fused for name in cell.over))
    message = [{name: format_difference(gain) for name, gain in cell.over.items()} for cell in fused]
    rows = [[escape(cell.name), *(gains.get(name, "") for name in controls)] for cell, gains in zip(fused, message, strict=True)]
    return table(["cell", *controls], rows, controls) if fused else ""
