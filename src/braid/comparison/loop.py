"""Train and score every cell with every seed, then say what may be said."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from braid.comparison.config import Cell, ComparisonConfig, cells
from braid.comparison.runs import Scores, begin, scored
from braid.comparison.verdict import evaluated
from braid.config import to_dict
from braid.datasets import Rows, open_dataset
from braid.errors import UserError
from braid.files import held, write_whole
from braid.reports import Compared, rounded, write_compared

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def compare(
    config: ComparisonConfig, folder: Path, watch: Progress | None = None, on_note: Callable[[str], None] = print
) -> Compared:
    """Fill ``folder``: a run in CELL/seed-N each, comparison.json, comparison.html, and compare.yaml, which repeats it.

    Called again, it goes on where it was stopped or killed. A cell that fails is told, left out, and listed in ``failed``.

    Raises:
        UserError: for settings that make no run, rows that are not there, or a folder with runs of other settings.
    """
    every = cells(config)
    examples = _examples(every[0], config.split)
    with held(folder / ".lock", lambda: on_note(f"waiting for another comparison in {folder} to end")) as lock:
        jobs = [(cell, seed, folder / cell.name / f"seed-{seed}") for seed in config.seeds for cell in every]
        for cell, seed, place in jobs:
            begin(cell.seeded(seed), place)
        write_whole(folder / "compare.yaml", yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120))
        result: dict[str, list[Scores]] = {}
        failed: dict[str, str] = {}
        for cell, seed, place in watch(jobs, len(jobs)) if watch else jobs:
            try:
                scores = scored(cell.seeded(seed), place, examples, config.split, lock)
            except UserError as error:
                failed.setdefault(cell.name, str(error))
                on_note(f"{cell.name}, seed {seed}, failed: {error}")
                continue
            result.setdefault(cell.name, []).append(scores)
            name, metric = next(iter(scores.metrics.items()))
            on_note(f"{cell.name}, seed {seed}: {name} {rounded(metric)}")
        whole = {name: scores for name, scores in result.items() if name not in failed}
        compared = evaluated(folder.resolve().name, config, every, whole, failed)
        write_whole(folder / "comparison.json", json.dumps(to_dict(compared), ensure_ascii=False) + "\n")
        write_compared(compared, folder / "comparison.html")
    return compared


def _examples(cell: Cell, split: str) -> Rows:
    data = cell.run.data
    rows = open_dataset(data.path, data.columns).split(split)
    return rows[: data.limit_val or None] if split == data.val else rows
