"""What is worth knowing after a run: which inputs help, what is confused, whether rows or time would help, what to do next."""

import shlex
from pathlib import Path
from typing import Any

from braid.reports import read_log
from braid.training.config import RunConfig

HELPS = 1.05  # the loss grows at least so much where an input is that of another row
GAIN = 1.0  # of the main metric, from half of the rows to all, that is worth more rows


REMOVED = (0.0, 0.2)  # shares of the errors that ten more minutes removed in two benchmarks (docs/results.md, "Your own data")


def advice(config: RunConfig, folder: Path, halves: tuple[float, float] | None = None, encoder_frozen: bool = False) -> list[str]:
    """Sentences about a finished run.

    Args:
        folder: of the run.
        halves: the main metric after training on half of the rows, and on all, with the same settings.
        encoder_frozen: whether a stage that trains the image encoder is left.
    """
    epochs = [record for record in read_log(folder / "log.jsonl") if record.get(config.best) is not None]
    if not epochs:
        return []
    better = max if config.better == "higher" else min
    best = better(epochs, key=lambda record: record[config.best])
    return [*_inputs(best.get("reliance", {})), *_confusions(best), *_rows(config, halves), *_time(best, encoder_frozen)]


def next_commands(config: RunConfig, folder: Path, time: str) -> list[str]:
    """The three commands that one wants next."""
    model, data = shlex.quote(str(folder)), shlex.quote(config.data.path)
    columns = ",".join(f"{role}={name}" for role, name in config.data.columns.items())
    given = f" --task {config.task.kind} --data {data}" + (f" --columns {shlex.quote(columns)}" if columns else "")
    return [
        f"braid evaluate --model {model}{given} --html {model}/evaluation.html",
        f"braid serve --model {model}",
        f"braid train --output {model} --resume --time {time}",
    ]


def _inputs(reliance: dict[str, dict[str, float]]) -> list[str]:
    """How much worse the loss is when an input is that of another row."""
    if len(reliance) < 2:
        return []
    said = []
    for name, one in reliance.items():
        helps = one["loss_shuffled"] > HELPS * one["loss"]
        verb = "matters" if helps else "hardly matters"
        said.append(f"{name} {verb} (val loss {one['loss']:.2f}, with other rows' values {one['loss_shuffled']:.2f})")
    return ["inputs: " + "; ".join(said)]


def _confusions(record: dict[str, Any]) -> list[str]:
    found = record.get("confusions")
    if not isinstance(found, list) or not found:
        return []
    pairs = [f"{truth} is taken for {answer} ({count} of {rows})" for truth, answer, count, rows in found]
    return ["errors: " + "; ".join(pairs)]


def _rows(config: RunConfig, halves: tuple[float, float] | None) -> list[str]:
    if halves is None:
        return []
    half, whole = halves
    gain = whole - half if config.better == "higher" else half - whole
    verdict = "more rows would help" if gain >= GAIN else "more rows of this kind would hardly help"
    return [f"rows: {config.best} {half:.1f} from half of the rows, {whole:.1f} from all of them; {verdict}"]


def _time(record: dict[str, Any], encoder_frozen: bool) -> list[str]:
    """What more time is likely to give, by the benchmarks."""
    if not encoder_frozen or "accuracy" not in record:
        return []
    now = record["accuracy"]
    low, high = (now + share * (100 - now) for share in REMOVED)
    gain = f"removed {REMOVED[0]:.0%} to {REMOVED[1]:.0%} of the errors in our benchmarks"
    return [f"time: ten more minutes train the image encoder, too, and {gain}: expect accuracy {low:.1f} to {high:.1f}"]
