"""A run read from its folder alone: settings, records, samples, its problems, and its differences from other runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from braid.bundle import bundle_folder
from braid.config import kinds
from braid.errors import UserError
from braid.reports.description import Description, describe, read_settings
from braid.skipped_rows import FILE as LEFT_OUT
from braid.tasks import MEAN, Task

RENAMED = "cider-d"  # what `cider` was called while `cider` meant the unclipped metric
NOT_FIGURES = ("step", "epoch", "num_samples", "seconds")
CONFIDENCE = ("ece", "aurc")  # errors of it: better the lower they are, whatever the task
RISE = 1.01  # of val loss over its lowest, before it is called overfitting
NO_MATTER = ("card", "sinks")  # settings that cannot change a figure
EVALUATED_BY = ("task", "tasks", "data.path", "data.columns", "data.val", "data.limit_val", "evaluation.limit")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines log in order; a last line that a killed run left half written is no record.

    Raises:
        UserError: for a log whose caption metrics have their old names, where ``cider`` was another metric.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    if any(name.split(".")[-1] == RENAMED for record in records for name in record):
        raise UserError(f"{path} has old names of metrics; in this file rename cider to cider-2015, then cider-d to cider")
    return records


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


@dataclass(frozen=True)
class Finding:
    """``good`` is None where a run is too young to tell, or did not measure it."""

    title: str
    text: str
    good: bool | None
    details: tuple[str, ...] = ()


def diagnose(run: LoggedRun) -> list[Finding]:
    """The last epoch's answers, reliance on each input, and overfitting of each task; and skipped rows."""
    result = [one for task in run.tasks for one in (*_answers(run, task), *_reliance(run, task), _overfitting(run, task))]
    return [*result, _skipped(run)]


def _answers(run: LoggedRun, task: LoggedTask) -> list[Finding]:
    result = run.epochs[-1].get(f"{task.start}answers") if run.epochs else None
    if not result:
        return []
    calm = f"{result['distinct']:,} different texts for {result['rows']:,} val rows"
    often = f"; the commonest, “{result['commonest']}”, is given to {result['times']:,}" if result["times"] > 1 else ""
    return [Finding(task.titled("Answers differ"), result["warning"] or calm + often, not result["warning"])]


def _reliance(run: LoggedRun, task: LoggedTask) -> list[Finding]:
    result = run.epochs[-1].get(f"{task.start}reliance", {}) if run.epochs else {}
    findings = []
    for name, one in result.items():
        more = 100 * (one["loss_shuffled"] / one["loss"] - 1) if one["loss"] else 0.0
        calm = (
            f"val loss is {one['loss']:.3f}, and {one['loss_shuffled']:.3f} ({more:+.0f}%) with another row’s {name} in its place"
        )
        findings.append(Finding(task.titled(f"Reads its {name}"), one["warning"] or calm, not one["warning"]))
    return findings


def _overfitting(run: LoggedRun, task: LoggedTask) -> Finding:
    """Val loss rises while train loss falls; their levels do not compare (dropout, smoothing, augmentation), their courses do."""
    title, name = task.titled("Does not overfit"), f"{task.start}val_loss"
    if task.objective != "likelihood":
        return Finding(title, "the loss of a reward does not show it; compare the task's metrics on val", None)
    if len(run.epochs) < 3:
        return Finding(title, "fewer than three epochs are too few to tell", None)
    lowest, last = min(run.epochs, key=lambda record: record[name]), run.epochs[-1]
    train = {epoch: fmean(losses) for epoch, losses in _losses(run, task.loss).items()}
    before, after = train.get(lowest["epoch"]), train.get(last["epoch"])
    if before is None or after is None or last[name] < RISE * lowest[name] or after >= before:
        return Finding(title, f"val loss ends at {last[name]:.3f}; its lowest is {lowest[name]:.3f}", True)
    rose = f"val loss rose from {lowest[name]:.3f} (epoch {lowest['epoch'] + 1}) to {last[name]:.3f}"
    fell = f"while train loss fell from {before:.3f} to {after:.3f}"
    return Finding(title, f"{rose} {fell}; try more data, augmentation or dropout, or stop by evaluation.patience", False)


def _losses(run: LoggedRun, name: str) -> dict[int, list[float]]:
    result: dict[int, list[float]] = {}
    for record in run.steps:
        if name in record:
            result.setdefault(record["epoch"], []).append(record[name])
    return result


def _skipped(run: LoggedRun) -> Finding:
    if not run.skipped_rows:
        return Finding("Every row was read", "no row is skipped", True)
    rows = "1 row is" if len(run.skipped_rows) == 1 else f"{len(run.skipped_rows):,} rows are"
    return Finding("Every row was read", f"{rows} skipped", False, run.skipped_rows)


def differences(runs: Sequence[LoggedRun]) -> dict[str, list[str]]:
    """The path of every setting that differs -> its value in each run; a part of another kind is one setting."""
    settings = [{key: value for key, value in run.settings.items() if key not in NO_MATTER} for run in runs]
    return dict(_differing(settings, ""))


def incomparable_settings(runs: Sequence[LoggedRun]) -> list[str]:
    """The differing settings under which figures do not compare: other data, other rows, another task."""
    return [name for name in differences(runs) if any(name == key or name.startswith(key + ".") for key in EVALUATED_BY)]


def _differing(values: Sequence[Any], path: str) -> list[tuple[str, list[str]]]:
    if all(value == values[0] for value in values):
        return []
    sections = [value for value in values if isinstance(value, Mapping)]
    if len(sections) < len(values) or len({section.get("kind") for section in sections}) > 1:
        return [(path, [message(value) for value in values])]
    keys = dict.fromkeys(key for section in sections for key in section)
    inside = [_differing([section.get(key) for section in sections], f"{path}.{key}" if path else str(key)) for key in keys]
    return [result for part in inside for result in part]


def message(value: Any) -> str:
    """A setting in a table's cell."""
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key} {message(inner)}" for key, inner in value.items() if key != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind} ({rest})" if kind and rest else kind or rest or "none"
    if isinstance(value, list):
        return ", ".join(map(message, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)
