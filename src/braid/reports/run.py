"""Reads a run from its folder: settings, records, samples, problems, and differences from other runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from braid.bundle import bundle_folder
from braid.config import kinds, without_nan
from braid.errors import UserError
from braid.files import as_written, read_json_lines
from braid.modalities import input_in_words
from braid.reports.description import Description, describe, read_settings
from braid.reports.stages import Progress, read_progress
from braid.skipped_rows import FILE as LEFT_OUT
from braid.tasks import MEAN, Task

RENAMED = "cider-d"  # the old name of `cider`, when `cider` was the unclipped metric
NOT_FIGURES = ("step", "epoch", "num_samples", "seconds")
CONFIDENCE = ("ece", "aurc")  # errors of confidence: lower is better for every task
RISE = 1.01  # ratio of val loss to its minimum above which a run overfits
NO_MATTER = ("card", "sinks")  # settings that cannot change a metric
EVALUATED_BY = ("task", "tasks", "data.path", "data.columns", "data.val", "data.limit_val", "evaluation.limit")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines log, in order, without incomplete lines of a killed run; a NaN of an old log becomes None.

    Raises:
        UserError: for a damaged log, and one with old names of caption metrics, where ``cider`` was another metric.
    """
    try:
        records = [without_nan(record) for record in read_json_lines(path)]
    except FileNotFoundError:
        return []
    if any(name.split(".")[-1] == RENAMED for record in records for name in record):
        raise UserError(f"{path} has old names of metrics; in this file rename cider to cider-2015, then cider-d to cider")
    return records


@dataclass(frozen=True)
class LoggedTask:
    """One of a run's tasks. ``start`` is the prefix of its metrics in an epoch's record, empty for the main task; ``loss`` is the
    name of its loss in a step's record. ``alone``: the run has no other task."""

    kind: str
    objective: str
    start: str
    loss: str
    alone: bool

    @property
    def metric(self) -> str:
        """The metric that would choose the best epoch for this task alone."""
        task = kinds(Task).get(self.kind)
        return task.main_metric if task else "val_loss"

    @property
    def higher_is_better(self) -> bool:
        task = kinds(Task).get(self.kind)
        return bool(task and task.better == "higher")

    def titled(self, title: str) -> str:
        """A title for a section about this task; if the run has other tasks, it starts with the task's name."""
        return title if self.alone else f"{self.kind}: {title[0].lower()}{title[1:]}"


@dataclass(frozen=True)
class LoggedRun:
    """A run's folder. ``steps`` and ``epochs`` are the records of log.jsonl, ``samples`` those of samples.jsonl, by the prefix of
    a task's metrics and by epoch; ``progress`` has the stages of a run in stages, whose best one wrote all the rest."""

    folder: Path
    settings: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    epochs: tuple[dict[str, Any], ...]
    samples: dict[str, dict[int, list[dict[str, Any]]]]
    skipped_rows: tuple[str, ...]
    progress: Progress = field(default_factory=Progress)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def task(self) -> str:
        return ", ".join(task.kind for task in self.tasks)

    @cached_property
    def tasks(self) -> tuple[LoggedTask, ...]:
        """All tasks, the main one first."""
        sections = [self.settings, *self.settings.get("tasks", [])]
        alone = len(sections) == 1
        result = []
        for place, section in enumerate(sections):
            kind, objective = str(section["task"]["kind"]), section.get("objective", {}).get("kind", "likelihood")
            result.append(LoggedTask(kind, objective, f"{kind}." if place else "", "loss" if alone else f"{kind}.loss", alone))
        return tuple(result)

    @property
    def metric(self) -> str:
        """The metric that chooses the best epoch."""
        return self.tasks[0].metric if len(self.tasks) == 1 else MEAN

    @property
    def higher_is_better(self) -> bool:
        return self.higher(self.metric)

    def higher(self, name: str) -> bool:
        """Whether higher is better. Except for loss and confidence errors, this is the same as for the task's main metric."""
        start, _, metric = name.rpartition(".")
        task = next((task for task in self.tasks if start and task.kind == start), self.tasks[0])
        return name == MEAN or (metric not in ("val_loss", *CONFIDENCE) and task.higher_is_better)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The tasks' metrics, the one that chooses the best epoch first."""
        last = self.epochs[-1] if self.epochs else {}
        names = [
            name
            for name, value in last.items()
            if isinstance(value, int | float) and name.rpartition(".")[2] not in (*NOT_FIGURES, "val_loss")
        ]
        return tuple(sorted(names, key=lambda name: name != self.metric))

    def figures_of(self, task: LoggedTask) -> tuple[str, ...]:
        """The metrics of one task, the main one first."""
        start, metric = task.start, task.start + task.metric
        own = [name for name in self.metrics if name != MEAN and (name.startswith(start) if start else "." not in name)]
        return tuple(sorted(own, key=lambda name: name != metric))

    @cached_property
    def best(self) -> dict[str, Any] | None:
        """The record of the best epoch; among equal ones the first, as in training."""
        sign = -1 if self.higher_is_better else 1
        known = [record for record in self.epochs if record.get(self.metric) is not None]
        return min(known, key=lambda record: sign * float(record[self.metric]), default=None)

    @property
    def seconds(self) -> float | None:
        """Seconds of training and evaluation, of all stages, without interruptions; None if the log has no times."""
        if self.progress.stages:
            return self.progress.seconds
        result = [record["seconds"] for record in (*self.steps, *self.epochs) if "seconds" in record]
        return sum(result) if result else None

    @cached_property
    def steps_per_epoch(self) -> float | None:
        """Steps per epoch; None before the end of the first epoch."""
        return self.epochs[0]["step"] / (self.epochs[0]["epoch"] + 1) if self.epochs else None

    def place(self, step: int) -> float:
        """The position of a step on the x axis: in epochs, or in steps before the end of the first epoch."""
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
        """The model's parts; None if the run has not saved anything yet."""
        last = self.folder / "last"
        try:
            return describe(last if bundle_folder(last) else self.folder)
        except UserError:
            return None


def read_run_folder(folder: Path) -> LoggedRun:
    """Read a run's folder; records that a killed run wrote twice count once, and incomplete ones are ignored.

    Raises:
        UserError: when ``folder`` has no run, or its logs are damaged.
    """
    settings = read_settings(folder)
    with as_written(folder):
        return _logged_run(folder, settings)


def _logged_run(folder: Path, settings: dict[str, Any]) -> LoggedRun:
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
        read_progress(folder),
    )


@dataclass(frozen=True)
class Finding:
    """The result of a check. ``good`` is None if it is too early to say, or was not measured."""

    title: str
    text: str
    good: bool | None
    details: tuple[str, ...] = ()


def diagnose(run: LoggedRun) -> list[Finding]:
    """Check the last epoch's answers, reliance on each input, and overfitting, for each task; and skipped rows."""
    result = [one for task in run.tasks for one in (*_answers(run, task), *_reliance(run, task), _overfitting(run, task))]
    return [*result, _skipped(run)]


def _answers(run: LoggedRun, task: LoggedTask) -> list[Finding]:
    result = run.epochs[-1].get(f"{task.start}answers") if run.epochs else None
    if not result:
        return []
    calm = f"{result['distinct']:,} different {result.get('what', 'text')}s for {result['rows']:,} val rows"
    often = f"; the commonest, “{result['commonest']}”, is given to {result['times']:,}" if result["times"] > 1 else ""
    return [Finding(task.titled("Answers differ"), result["warning"] or calm + often, not result["warning"])]


def _reliance(run: LoggedRun, task: LoggedTask) -> list[Finding]:
    result = run.epochs[-1].get(f"{task.start}reliance", {}) if run.epochs else {}
    findings = []
    for name, one in result.items():
        if one["loss"] is None or one["loss_shuffled"] is None:
            continue
        more = 100 * (one["loss_shuffled"] / one["loss"] - 1) if one["loss"] else 0.0
        losses, what = f"{one['loss']:.3f}, and {one['loss_shuffled']:.3f} ({more:+.0f}%)", input_in_words(name)
        calm = f"val loss is {losses} with another row’s {what} in its place"
        findings.append(Finding(task.titled(f"Reads its {what}"), one["warning"] or calm, not one["warning"]))
    return findings


def _overfitting(run: LoggedRun, task: LoggedTask) -> Finding:
    """Overfitting: val loss rises while train loss falls. Only trends are compared, because levels differ (dropout, smoothing,
    augmentation)."""
    title, name = task.titled("Generalises to val rows"), f"{task.start}val_loss"
    if task.objective != "likelihood":
        return Finding(title, "the loss of a reward does not show it; compare the task's metrics on val", None)
    known = [record for record in run.epochs if record.get(name) is not None]
    if len(known) < 3:
        return Finding(title, "fewer than three epochs are too few to tell", None)
    lowest, last = min(known, key=lambda record: record[name]), known[-1]
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
        if record.get(name) is not None:
            result.setdefault(record["epoch"], []).append(record[name])
    return result


def _skipped(run: LoggedRun) -> Finding:
    if not run.skipped_rows:
        return Finding("Every row was read", "no row is skipped", True)
    rows = "1 row is" if len(run.skipped_rows) == 1 else f"{len(run.skipped_rows):,} rows are"
    return Finding("Every row was read", f"{rows} skipped", False, run.skipped_rows)


def differences(runs: Sequence[LoggedRun]) -> dict[str, list[str]]:
    """Path of every differing setting -> its value in each run; a part of another kind counts as one setting."""
    settings = [{key: value for key, value in run.settings.items() if key not in NO_MATTER} for run in runs]
    return dict(_differing(settings, ""))


def incomparable_settings(runs: Sequence[LoggedRun]) -> list[str]:
    """The differing settings that make metrics incomparable: other data, other rows, another task."""
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
    """A setting as text for a table."""
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key} {message(inner)}" for key, inner in value.items() if key != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind} ({rest})" if kind and rest else kind or rest or "none"
    if isinstance(value, list):
        return ", ".join(map(message, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)
