"""Shared functions of the quality benchmarks: train a run unless it exists, score it, write the results."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.api import load
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import write_whole
from braid.training import Watcher, run_from, train

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


def scored(folder: Path, task: str, data: str, split: str, beam: int | None = None) -> dict[str, float]:
    """The metrics of a run's best model on one split."""
    model = load(folder)
    metrics, _ = evaluate(model.runtime, model.collator, model.task(task, beam), open_dataset(data).split(split))
    return metrics


def report(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], how: str) -> None:
    """Print a Markdown table, and write it with its command to ``results/NAME.md``."""
    lines = [f"# {title}", "", how, "", f"Command: `python {' '.join(sys.argv)}`", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row) + " |" for row in rows]
    write_whole(RESULTS / f"{name}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_epoch(record: dict[str, Any]) -> None:
    metrics = {name: round(value, 2) for name, value in record.items() if name not in ("step", "best")}
    say(f"  {metrics}")
