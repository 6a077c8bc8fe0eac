"""Shared functions of the quality benchmarks: train a run unless it exists, score it row by row, write the results."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braid.api import load
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import write_whole
from braid.metrics import interval, paired_difference
from braid.records import Prediction, Sample
from braid.training import Watcher, default_run, run_from, train, train_in_stages

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Trained:
    """A finished run, its training time, and its number of parameters."""

    folder: Path
    minutes: float
    parameters: int


def trained(settings: dict[str, Any], folder: Path, changes: Sequence[str] = ()) -> Trained:
    """Train or resume a run with ``changes`` to its settings, or return it if it is finished."""
    say(f"{folder.name}: training")
    started = time.perf_counter()
    done = folder / "seconds.json"
    if not done.exists():
        sizes: list[int] = []
        config = run_from(settings, changes, where=folder.name)
        train(
            config, folder, resume=True, watcher=Watcher(lambda e: sizes.append(e.parameters), on_epoch=_say_epoch, on_note=say)
        )
        write_whole(done, json.dumps({"seconds": time.perf_counter() - started, "parameters": sizes[0]}))
    result = json.loads(done.read_text())
    return Trained(folder, result["seconds"] / 60, result["parameters"])


def trained_by_default(
    task: str, table: Path, columns: Mapping[str, str], folder: Path, settings: Sequence[str] = (), limit: str = ""
) -> Path:
    """What ``braid train`` gives without a settings file, within the time ``limit``. A run that was stopped goes on; a
    finished one is not trained again."""
    if not (folder / "done").exists():
        data = {"path": str(table), "columns": dict(columns)}
        config = run_from(default_run(task, data, settings=settings), settings)
        train_in_stages(config, folder, limit, resume=True, watcher=Watcher(on_note=say))
        (folder / "done").touch()
    return folder


@dataclass(frozen=True)
class Rows:
    """What a model says to the rows of a split, and how right each is, x100."""

    metrics: dict[str, float]
    predictions: Sequence[Prediction]
    samples: Sequence[Sample]
    right: np.ndarray


def answered(
    model: Path | str, task: str, data: Path | str, columns: Mapping[str, str], split: str, beam: int | None = None
) -> Rows:
    """The answers of a saved model to one split."""
    loaded = load(model)
    chosen = loaded.task(task, beam)
    examples = open_dataset(data, dict(columns)).split(split)
    metrics, answers = evaluate(loaded.runtime, loaded.collator, chosen, examples)
    return Rows(
        metrics, answers.predictions, answers.samples, np.asarray(chosen.items(answers.predictions, answers.samples), float)
    )


def shown(values: np.ndarray) -> str:
    """The mean of the rows with its 95% bootstrap interval."""
    low, high = interval(_column(values), _mean)
    return f"{np.mean(values):.1f} ({low:.1f} to {high:.1f})"


def lead(values: np.ndarray, others: np.ndarray) -> str:
    """The paired difference of two systems on the same rows, with its 95% bootstrap interval."""
    gap = paired_difference(_column(values), _column(others), _mean)
    return f"{gap.difference:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})"


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, float)[:, None]


def _mean(means: np.ndarray) -> np.ndarray:
    return means[:, 0]


def scored(folder: Path, task: str, data: str, split: str, beam: int | None = None) -> dict[str, float]:
    """The metrics of a run's best model on one split."""
    model = load(folder)
    metrics, _ = evaluate(model.runtime, model.collator, model.task(task, beam), open_dataset(data).split(split))
    return metrics


def report(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], how: str) -> None:
    """Print a Markdown table, and write it with its command to ``results/NAME.md``."""
    command = " ".join(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)  # no path of one machine
    lines = [f"# {title}", "", how, "", f"Command: `python {command}`", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row) + " |" for row in rows]
    write_whole(RESULTS / f"{name}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_epoch(record: dict[str, Any]) -> None:
    metrics = {name: round(value, 2) for name, value in record.items() if name not in ("step", "best")}
    say(f"  {metrics}")
