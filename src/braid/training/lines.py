"""What a run says while it trains: a live line on a terminal or in a notebook, and one line an epoch."""

from collections.abc import Callable
from statistics import fmean
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from braid.training.config import RunConfig
from braid.training.watcher import Estimate, Watcher

TELL = 15.0  # seconds between two lines where output is no terminal
WORDS = {
    "accuracy": "right answers",
    "cider": "CIDEr of the captions",
    "image-recall@1": "images found first",
    "macro-f1": "F1 as the mean over labels",
    "mae": "mean absolute error",
    "mean": "mean of the tasks' main metrics",
    "perplexity": "perplexity",
    "psnr": "PSNR of the images",
}
PERCENT = ("accuracy", "image-recall@1")


class TrainingLines:
    """The lines of a run. Every step updates the live line; without one, a line is said now and then.

    Args:
        live: whether ``console`` can redraw a line.
        note: says a line.
    """

    def __init__(self, config: RunConfig, console: Console, live: bool, note: Callable[[str], None]) -> None:
        line = TextColumn("{task.fields[line]}")
        self.progress = Progress(line, BarColumn(), TimeElapsedColumn(), console=console, disable=not live)
        self._note = note
        self.val_rows = ""  # of the last epoch
        self._config = config
        self._task: TaskID | None = None
        self._losses: list[float] = []  # of the epoch's steps
        self._last: dict[str, Any] = {}  # the record of the last step
        self._told = perf_counter()

    def watcher(self) -> Watcher:
        return Watcher(self._start, self._step, self._epoch, self._note)

    def _start(self, estimate: Estimate) -> None:
        parameters = f"{estimate.parameters / 1e6:.1f} M parameters, {estimate.trained / 1e6:.1f} M of them trained"
        cost = f"about {_time(estimate.seconds)} and {estimate.memory_bytes / 1e9:.1f} GB of memory"
        self._note(f"{parameters}; {estimate.steps} steps, {cost}")
        if self._task is not None:
            self.progress.remove_task(self._task)
        self._task = self.progress.add_task("", total=estimate.steps, line="starting")
        self._losses, self._last = [], {}

    def _step(self, record: dict[str, Any]) -> None:
        self._losses.append(record["loss"])
        self._last = record
        line = f"{_epoch(record)}, step {record['step']} of {record['steps']}: loss {record['loss']:.2f}, {self._left()}"
        if self._task is not None:
            self.progress.update(self._task, completed=record["step"], line=line)
        if self.progress.disable and perf_counter() - self._told > TELL:
            self._told = perf_counter()
            self._note(line)

    def _epoch(self, record: dict[str, Any]) -> None:
        """Print the loss and the metric that chooses the best epoch; log.jsonl has the others. Each further task has a line."""
        best = self._config.best
        self.val_rows = f"{int(record['num_samples']):,}" if "num_samples" in record else ""
        loss = f"loss {fmean(self._losses):.2f}, " if self._losses else ""
        rows = f" on {self.val_rows} val row{'' if self.val_rows == '1' else 's'}" if self.val_rows else ""
        kept = " (best so far)" if record["best"] else ""
        self._note(f"{_epoch({**self._last, **record})}: {loss}{in_words(best, record[best])}{rows}{kept}, {self._left()}")
        for mixed in self._config.tasks:
            name = mixed.task.main_metric
            self._note(f"  {mixed.task.kind}: {in_words(name, record[f'{mixed.task.kind}.{name}'])}")
        self._losses, self._told = [], perf_counter()

    def _left(self) -> str:
        seconds = self._last.get("seconds_left", 0.0)
        return f"about {_time(seconds)} left" if seconds >= 1 else "nearly done"


def in_words(metric: str, value: float | None) -> str:
    """``macro-f1`` 61.234 as "F1 as the mean over labels (macro-f1) 61.23"."""
    name = {"val_loss": "loss on val"}.get(metric) or (f"{WORDS[metric]} ({metric})" if metric in WORDS else metric)
    return f"{name} " + ("not known" if value is None else f"{value:.2f}" + ("%" if metric in PERCENT else ""))


def _epoch(record: dict[str, Any]) -> str:
    return f"epoch {record['epoch'] + 1}" + (f" of {record['epochs']}" if "epochs" in record else "")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
