"""What a run's records say about its health, in sentences; the metrics were computed while it trained."""

from dataclasses import dataclass
from statistics import fmean

from braid.reports.run import LoggedRun, LoggedTask

RISE = 1.01  # of val loss over its lowest, before it is called overfitting


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
