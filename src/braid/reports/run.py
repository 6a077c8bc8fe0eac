"""A run as its folder tells it: settings, records, samples. Nothing of the run itself need be alive, or finished."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from braid.bundle import bundle_folder
from braid.config import kinds
from braid.errors import UserError
from braid.reports.description import Description, describe, read_settings
from braid.reports.files import read_log
from braid.skipped_rows import FILE as LEFT_OUT
from braid.tasks import MEAN, Task

NOT_FIGURES = ("step", "epoch", "num_samples", "seconds")
CONFIDENCE = ("ece", "aurc")  # errors of it: better the lower they are, whatever the task


@dataclass(frozen=True)
class LoggedTask:
    """One of a run's tasks. ``start`` is what its figures begin with in an epoch's record: nothing for the main task; ``loss``
    names its loss in a step's record. ``alone``: the run has no other."""

    kind: str
    objective: str
    start: str
    loss: str
    alone: bool

    @property
    def metric(self) -> str:
        """The figure that would choose the best epoch for this task."""
        task = kinds(Task).get(self.kind)
        return task.main_metric if task else "val_loss"

    @property
    def higher_is_better(self) -> bool:
        task = kinds(Task).get(self.kind)
        return bool(task and task.better == "higher")

    def titled(self, title: str) -> str:
        """A title of what is about this task: which one it is, where there are others."""
        return title if self.alone else f"{self.kind}: {title[0].lower()}{title[1:]}"


@dataclass(frozen=True)
class LoggedRun:
    """``steps`` and ``epochs`` are records of log.jsonl; ``samples`` those of samples.jsonl, by the start of a task's figures
    and by epoch."""

    folder: Path
    settings: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    epochs: tuple[dict[str, Any], ...]
    samples: dict[str, dict[int, list[dict[str, Any]]]]
    skipped_rows: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def task(self) -> str:
        return ", ".join(task.kind for task in self.tasks)

    @cached_property
    def tasks(self) -> tuple[LoggedTask, ...]:
        """The main one first."""
        sections = [self.settings, *self.settings.get("tasks", [])]
        alone = len(sections) == 1
        result = []
        for place, section in enumerate(sections):
            kind, objective = str(section["task"]["kind"]), section.get("objective", {}).get("kind", "likelihood")
            result.append(LoggedTask(kind, objective, f"{kind}." if place else "", "loss" if alone else f"{kind}.loss", alone))
        return tuple(result)

    @property
    def metric(self) -> str:
        """The figure that chooses the best epoch."""
        return self.tasks[0].metric if len(self.tasks) == 1 else MEAN

    @property
    def higher_is_better(self) -> bool:
        return self.higher(self.metric)

    def higher(self, name: str) -> bool:
        """Whether more is better: all of a task's figures but loss and confidence point the way of the one that would decide."""
        start, _, metric = name.rpartition(".")
        task = next((task for task in self.tasks if start and task.kind == start), self.tasks[0])
        return name == MEAN or (metric not in ("val_loss", *CONFIDENCE) and task.higher_is_better)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The tasks' own figures, the one that decides first."""
        last = self.epochs[-1] if self.epochs else {}
        names = [
            name
            for name, value in last.items()
            if isinstance(value, int | float) and name.rpartition(".")[2] not in (*NOT_FIGURES, "val_loss")
        ]
        return tuple(sorted(names, key=lambda name: name != self.metric))

    def figures_of(self, task: LoggedTask) -> tuple[str, ...]:
        """Those of one task, the one that would decide first."""
        start, metric = task.start, task.start + task.metric
        own = [name for name in self.metrics if name != MEAN and (name.startswith(start) if start else "." not in name)]
        return tuple(sorted(own, key=lambda name: name != metric))

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """The record of the best epoch; the first of equals, as training chooses."""
        sign = -1 if self.higher_is_better else 1
        return min(self.epochs, key=lambda record: sign * float(record[self.metric]), default=None)

    @property
    def seconds(self) -> float | None:
        """Training and evaluation, stops left out; None where the log does not say."""
        result = [record["seconds"] for record in (*self.steps, *self.epochs) if "seconds" in record]
        return sum(result) if result else None

    @cached_property
    def steps_per_epoch(self) -> float | None:
        """Known from the end of the first epoch on."""
        return self.epochs[0]["step"] / (self.epochs[0]["epoch"] + 1) if self.epochs else None

    def place(self, step: int) -> float:
        """A step on the axis of epochs; on that of steps before the first epoch has ended."""
        return step / (self.steps_per_epoch or 1)

    @property
    def state(self) -> str:
        whole = int(self.settings.get("epochs", 0))
        done = len(self.epochs)
        if done >= whole > 0:
            return f"finished, {done} {'epoch' if done == 1 else 'epochs'}"
        patience = self.settings.get("evaluation", {}).get("patience", 0)
        if self.best and 0 < patience <= self.epochs[-1]["epoch"] - self.best["epoch"]:
            return f"stopped early after {done} of {whole} epochs"
        steps = f", {self.steps[-1]['step']:,} steps" if self.steps else ""
        return f"{done} of {whole} epochs{steps}"

    @cached_property
    def description(self) -> Description | None:
        """The model's parts; None for a run that has saved nothing yet."""
        last = self.folder / "last"
        try:
            return describe(last if bundle_folder(last) else self.folder)
        except UserError:
            return None


def read_run_folder(folder: Path) -> LoggedRun:
    """Read a run's folder; what a killed run wrote twice or by half counts once or not at all.

    Raises:
        UserError: when it is no run's folder.
    """
    settings = read_settings(folder)
    records = read_log(folder / "log.jsonl")
    steps = {record["step"]: record for record in records if "loss" in record}
    epochs = {record["epoch"]: record for record in records if "val_loss" in record}
    samples: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for record in read_log(folder / "samples.jsonl"):
        samples.setdefault(f"{record['task']}." if "task" in record else "", {})[record["epoch"]] = record["samples"]
    skipped_rows = tuple(f"{row['source']}: {row['reason']}" for row in read_log(folder / LEFT_OUT))
    return LoggedRun(
        folder,
        settings,
        tuple(steps[step] for step in sorted(steps)),
        tuple(epochs[epoch] for epoch in sorted(epochs)),
        samples,
        skipped_rows,
    )
