"""Trains and scores every cell with every seed, then ranks the cells and tests whether the differences are significant."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from braid.comparison.config import Cell, ComparisonConfig, cells, planned
from braid.comparison.runs import FILE, Scores, begin, scored
from braid.config import json_text, to_dict
from braid.datasets import Rows, open_dataset
from braid.errors import UserError
from braid.files import held, write_whole
from braid.metrics import Difference, over_seeds, paired_difference
from braid.reports import Compared, ComparedCell, Finding, format_difference, rounded, write_compared
from braid.shapes import Float
from braid.training import RunConfig

Scored = Float[np.ndarray, "rows seeds"]


@dataclass(frozen=True)
class Ranking:
    """Cells, best first, and the lead of the best cell over each other cell."""

    order: tuple[str, ...]
    leads: dict[str, Difference]

    @property
    def equals(self) -> tuple[str, ...]:
        """The cells that are not significantly worse than the best."""
        return tuple(name for name, lead in self.leads.items() if lead.low <= 0)

    @property
    def winner(self) -> str | None:
        """The best cell, if its lead over every other cell is significant."""
        return self.order[0] if self.leads and not self.equals else None


def rank(rows: Mapping[str, Scored]) -> Ranking:
    """Rank cells by their mean over rows and seeds; higher is better."""
    order = sorted(rows, key=lambda name: -float(rows[name].mean()))
    return Ranking(tuple(order), {name: lead(rows[order[0]], rows[name]) for name in order[1:]})


def lead(first: Scored, second: Scored) -> Difference:
    """The lead of the first cell, with a paired bootstrap interval over rows and seeds (pigeonhole bootstrap: Owen 2007).

    Resampling rows alone is not enough: of two equal cells, the one with better seeds would be better on most rows.
    """
    return paired_difference(first, second, _over_drawn_seeds)


def _over_drawn_seeds(means: Float[np.ndarray, "resamples seeds"]) -> Float[np.ndarray, " resamples"]:
    """The mean over resampled seeds, the same for both cells; for a single row, the mean over all seeds."""
    resamples, seeds = means.shape
    if resamples == 1:
        return means.mean(1)
    generated = np.random.default_rng(1).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    return np.asarray((means * generated).sum(1) / seeds)


def evaluated(
    name: str, config: ComparisonConfig, cells: Sequence[Cell], scores: Mapping[str, Sequence[Scores]], failed: Mapping[str, str]
) -> Compared:
    """The table and the verdict. ``scores`` has the scores of each cell that was trained with every seed, in the order of seeds;
    ``failed`` maps a cell to the reason."""
    task, data = cells[0].run.task, cells[0].run.data
    rows = _paired(scores, 1 if task.better == "higher" else -1)
    ranking = rank(rows)
    over = {
        cell.name: {control: lead(rows[cell.name], rows[control]) for control in cell.controls if control in rows}
        for cell in cells
        if cell.name in rows
    }
    by_name = {cell.name: cell for cell in cells}
    compared = [_cell(by_name[cell], scores[cell], ranking.leads.get(cell), over[cell]) for cell in ranking.order]
    seeds = min((len(runs) for runs in scores.values()), default=0)
    findings = [_winner(ranking, task.per_sample_metric, compared, seeds)] if len(compared) > 1 else []
    findings += _against_controls([cell for cell in cells if cell.controls and cell.name in rows], over)
    if failed:
        text = "; ".join(f"{cell} is left out: {reason}" for cell, reason in failed.items())
        findings.append(Finding("Every cell was trained", text, False))
    return Compared(
        name=name,
        task=task.kind,
        data=data.path,
        split=config.split,
        num_rows=len(next(iter(rows.values()), ())),
        seeds=config.seeds,
        metric=task.per_sample_metric,
        better=task.better,
        winner=ranking.winner if seeds > 1 else None,
        equals=ranking.equals,
        cells=tuple(compared),
        failed=dict(failed),
        verdict=tuple(findings),
        notes=tuple(_notes(config, data.val)),
    )


def _paired(scores: Mapping[str, Sequence[Scores]], sign: int) -> dict[str, Scored]:
    """The metrics of the rows that every run could answer, by cell; higher is better."""
    result = {cell: [dict(zip(_keys(one.ids), one.items, strict=True)) for one in runs] for cell, runs in scores.items()}
    every = [run for runs in result.values() for run in runs]
    shared = [key for key in every[0] if all(key in run for run in every)] if every else []
    return {cell: sign * np.array([[run[key] for run in runs] for key in shared], np.float64) for cell, runs in result.items()}


def _keys(ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Unique keys of rows, because rows may share an id, such as the captions of one image."""
    seen: Counter[str] = Counter()
    for identity in ids:
        yield identity, seen[identity]
        seen[identity] += 1


def _cell(cell: Cell, scores: Sequence[Scores], behind: Difference | None, over: dict[str, Difference]) -> ComparedCell:
    names = [name for name in scores[0].metrics if all(name in one.metrics for one in scores)]
    return ComparedCell(
        name=cell.name,
        control=cell.control,
        metrics={name: over_seeds([one.metrics[name] for one in scores]) for name in names},
        parameters=scores[0].parameters,
        training_seconds=float(np.mean([one.training_seconds for one in scores])),
        latency_ms=float(np.median([one.latency_ms for one in scores])),
        memory_bytes=max(one.memory_bytes for one in scores),
        behind=behind,
        over=over,
    )


def _winner(ranking: Ranking, metric: str, cells: Sequence[ComparedCell], seeds: int) -> Finding:
    best, second, *_ = ranking.order
    best += ", which has one input alone," if cells[0].control else ""
    figure = f"{metric} {rounded(cells[0].metrics[metric].mean)}"
    if ranking.winner:
        least = f"the next, {second}, by {format_difference(ranking.leads[second])}"
        if seeds == 1:
            luck = "with another seed, another cell may lead; add --seeds 3"
            return Finding("Ahead with one seed", f"{best} has {figure} and leads every other cell, {least}; {luck}", None)
        return Finding("A clear winner", f"{best} has {figure} and leads every other cell, {least}", True)
    equals = _and(ranking.equals)
    return Finding("No clear winner", f"{best} has the best figure, {figure}, but cannot be told apart from {equals}", None)


def _against_controls(cells: Sequence[Cell], over: Mapping[str, Mapping[str, Difference]]) -> list[Finding]:
    """Whether fused cells are better than their single inputs."""
    if not cells:
        return []
    pairs = [(cell.name, control) for cell in cells for control in cell.controls]
    title = f"Fused cells beat {'both controls' if len({control for _, control in pairs}) == 2 else 'their controls'}"
    unknown = list(dict.fromkeys(control for cell, control in pairs if control not in over[cell]))
    if unknown:
        return [Finding(title, f"not known: {_and(unknown)} could not be trained", None)]
    short: dict[tuple[str, ...], list[str]] = {}  # controls that are not clearly beaten -> the cells that do not beat them
    for cell in cells:
        short.setdefault(tuple(name for name, gain in over[cell.name].items() if gain.low <= 0), []).append(cell.name)
    beating = short.pop((), [])
    if short:
        failing = [f"{_and(names)} cannot be told to beat {_and(controls)}" for controls, names in short.items()]
        return [Finding(title, "; ".join([f"clear for {_and(beating) if beating else 'none'}", *failing]), False)]
    least = min((gain for cell in beating for gain in over[cell].values()), key=lambda gain: gain.low)
    return [Finding(title, f"clear for every one of them, the least by {format_difference(least)}", True)]


def _notes(config: ComparisonConfig, val: str) -> Iterator[str]:
    if len(config.seeds) > 1:
        yield "Intervals (95%) between cells are bootstrapped over rows and seeds, both paired; ± is a t-interval over seeds."
    else:
        yield "One seed shows nothing of the luck in training: intervals are over rows alone. Give several seeds."
    if config.split == val:
        yield f"The rows of {val} also chose each run's best epoch, which flatters every cell; split: test would not."


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def compare(
    config: ComparisonConfig,
    folder: Path,
    watch: Progress | None = None,
    on_note: Callable[[str], None] = print,
    limit: float = math.inf,
) -> Compared:
    """Run a comparison. ``folder`` gets the runs (CELL/seed-N), comparison.json, comparison.html, and compare.yaml to repeat it.

    If it was stopped or killed, call it again to continue. A cell that fails is reported, left out, and listed in ``failed``.

    Args:
        limit: the seconds that it may take. If they are too short, all cells are compared with fewer seeds.
    Raises:
        UserError: for settings that are not a valid run, missing rows, or a folder with runs of other settings.
    """
    every = cells(config)
    examples = _examples(every[0], config.split)
    with held(folder, lambda who: on_note(f"waiting for another comparison in {folder} to end ({who})"), on_note) as lock:
        jobs = _Jobs(every, config.seeds, folder, time.monotonic() + limit)
        for cell, seed, place in jobs.all:
            begin(cell.seeded(seed), place)
        on_note(f"plan: {planned(config)}, {_each(every[0].run)}")
        write_whole(folder / "compare.yaml", yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120))
        result: dict[str, list[Scores]] = {}
        failed: dict[str, str] = {}
        left = jobs.in_time(on_note)
        for cell, seed, place in watch(left, len(jobs.all)) if watch else left:
            try:
                scores = scored(cell.seeded(seed), place, examples, config.split, lock)
            except UserError as error:
                failed.setdefault(cell.name, str(error))
                on_note(f"{cell.name}, seed {seed}, failed: {error}")
                continue
            result.setdefault(cell.name, []).append(scores)
            name, metric = next(iter(scores.metrics.items()))
            on_note(f"{cell.name}, seed {seed}: {name} {rounded(metric)}")
        config = replace(config, seeds=tuple(jobs.begun))
        whole = {name: scores for name, scores in result.items() if name not in failed}
        compared = evaluated(folder.resolve().name, config, every, whole, failed)
        write_whole(folder / "comparison.json", json_text(to_dict(compared), ensure_ascii=False) + "\n")
        write_compared(compared, folder / "comparison.html")
    return compared


def _each(run: RunConfig) -> str:
    return f"each trained for at most {run.time}" if run.time else f"each of {run.epochs} epoch{'s' if run.epochs > 1 else ''}"


Job = tuple[Cell, int, Path]  # a cell, its seed and its folder


@dataclass
class _Jobs:
    """The runs of a comparison, seed by seed, so that all cells have the same seeds whenever time is over."""

    cells: Sequence[Cell]
    seeds: Sequence[int]
    folder: Path
    until: float  # on the clock of ``time.monotonic``
    begun: list[int] = field(default_factory=list)  # seeds

    def of(self, seed: int) -> list[Job]:
        return [(cell, seed, self.folder / cell.name / f"seed-{seed}") for cell in self.cells]

    @property
    def all(self) -> list[Job]:
        return [job for seed in self.seeds for job in self.of(seed)]

    def in_time(self, on_note: Callable[[str], None]) -> Iterator[Job]:
        """The runs that are likely to end in time, by the longest of those before; always those of one seed."""
        longest = 0.0
        for seed in self.seeds:
            jobs = self.of(seed)
            new = sum(not (place / FILE).is_file() for *_, place in jobs)
            if self.begun and time.monotonic() + longest * new > self.until:
                done = f"{len(self.begun)} of {len(self.seeds)} seeds"
                on_note(f"the time is over after {done}; the same command trains the others, too")
                return
            self.begun.append(seed)
            for job in jobs:
                started = time.monotonic()
                yield job
                longest = max(longest, time.monotonic() - started)


def _examples(cell: Cell, split: str) -> Rows:
    data = cell.run.data
    rows = open_dataset(data.path, data.columns).split(split)
    return rows[: data.limit_val or None] if split == data.val else rows
