"""What is worth knowing after a run: which inputs help, what is confused, whether rows or time would help, what to do next."""

import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

from braid.modalities import input_in_words
from braid.reports import read_log
from braid.training.config import RunConfig

HELPS = 1.05  # the loss grows at least so much where an input is that of another row
RISE = 1.05  # the loss on val rises at least so much where training rows are learned by heart
GAIN = 1.0  # of the main metric, from half of the rows to all, that is worth more rows
EXAMPLES = {
    "audio": "sound.wav",
    "image": "photo.jpg",
    "tabular": "",
    "video": "clip.mp4",
}  # a value of an input, if it is a file
REMOVED = (0.0, 0.2)  # shares of the errors that ten more minutes removed in two benchmarks (docs/results.md, "Your own data")


def advice(config: RunConfig, folder: Path, halves: tuple[float, float] | None = None, encoder_frozen: bool = False) -> list[str]:
    """Sentences about a finished run.

    Args:
        folder: of the run.
        halves: the main metric after training on half of the rows, and on all, with the same settings.
        encoder_frozen: whether a stage that trains the image encoder is left.
    """
    records = read_log(folder / "log.jsonl")
    epochs = [record for record in records if record.get(config.best) is not None]
    if not epochs:
        return []
    better = max if config.better == "higher" else min
    best = better(epochs, key=lambda record: record[config.best])
    rows = _rows(config, halves) if halves else _overfitted(config, records, epochs)
    time = _encoder_time(best) if encoder_frozen and "accuracy" in best else _time(config, epochs, best)
    return [*_inputs(best.get("reliance", {})), *_confusions(best), *rows, *time]


def next_commands(config: RunConfig, folder: Path, time: str) -> list[str]:
    """The three commands that one wants next."""
    model, data = shlex.quote(str(folder)), shlex.quote(config.data.path)
    columns = ",".join(f"{role}={name}" for role, name in config.data.columns.items())
    given = f" --task {config.task.kind} --data {data}" + (f" --columns {shlex.quote(columns)}" if columns else "")
    given += f" --split {shlex.quote(config.data.val)}" if config.data.val != "val" else ""
    return [
        _use(config, model),
        f"braid evaluate --model {model}{given} --html {model}/evaluation.html",
        f"braid train --output {model} --resume --time {time}",
    ]


def _use(config: RunConfig, model: str) -> str:
    """The command that gives an answer about one file or text; where a row has several files or table columns, about a table."""
    kinds = {name: config.inputs[name].kind for name in sorted(config.model.encoders)}  # a clip after its sound
    files = {config.data.columns.get(name, name): EXAMPLES[kind] for name, kind in kinds.items() if kind != "text"}
    if len(files) > 1 or "" in files.values():
        return f"braid predict {model} rows.csv --output predicted.csv"
    file = "".join(f" {name}" for name in files.values())
    text = ' --text "a few words"' if "text" in kinds.values() else ""
    command = {
        "captioning": f"caption{file}",
        "image_generation": f'imagine "a few words"{file and " --image"}{file} --output image.png',
        "language_modelling": 'complete "a few words"',
        "reconstruction": f"inspect --reconstruct{file} --output beside.png",
        "retrieval": "index folder/ --output folder.index",
        "vqa": f'ask{file} "a question"',
    }.get(config.task.kind, f"classify{file}{text}")
    return f"braid {command} --model {model}"


def _inputs(reliance: dict[str, dict[str, float]]) -> list[str]:
    """How much worse the loss is when an input is that of another row."""
    if len(reliance) < 2:
        return []
    said = []
    for name, one in reliance.items():
        helps = one["loss_shuffled"] > HELPS * one["loss"]
        verb = "matters" if helps else "hardly matters"
        said.append(
            f"{input_in_words(name)} {verb} (val loss {one['loss']:.2f}, with other rows' values {one['loss_shuffled']:.2f})"
        )
    return ["inputs: " + "; ".join(said)]


def _confusions(record: dict[str, Any]) -> list[str]:
    found = record.get("confusions")
    if not isinstance(found, list) or not found:
        return []
    pairs = [f"{truth} is taken for {answer} ({count} of {rows})" for truth, answer, count, rows in found]
    return ["errors: " + "; ".join(pairs)]


def _rows(config: RunConfig, halves: tuple[float, float]) -> list[str]:
    half, whole = halves
    gain = whole - half if config.better == "higher" else half - whole
    verdict = "more rows would help" if gain >= GAIN else "more rows of this kind would hardly help"
    return [f"rows: {config.best} {half:.1f} from half of the rows, {whole:.1f} from all of them; {verdict}"]


def _overfitted(config: RunConfig, records: list[dict[str, Any]], epochs: list[dict[str, Any]]) -> list[str]:
    """Whether the model learns its training rows by heart, which more rows prevent: where training on half of them takes long.
    Only trends are compared, because levels differ (dropout, smoothing, augmentation)."""
    known = [record for record in epochs if record.get("val_loss") is not None]
    name = f"{config.task.kind}.loss" if config.tasks else "loss"
    losses: dict[int, list[float]] = {}
    for record in records:
        if record.get(name) is not None:
            losses.setdefault(record["epoch"], []).append(record[name])
    train = {epoch: fmean(values) for epoch, values in losses.items()}
    if len(known) < 2 or config.objective.kind != "likelihood":
        return []
    lowest, last = min(known, key=lambda record: record["val_loss"]), known[-1]
    before, after = train.get(lowest["epoch"]), train.get(last["epoch"])
    if before is None or after is None:
        return []
    if last["val_loss"] < RISE * lowest["val_loss"] or after >= before:
        return ["rows: the loss on val did not rise while that on training rows fell, so try more time before more rows"]
    rose = f"the loss on val rose from {lowest['val_loss']:.2f} (epoch {lowest['epoch'] + 1}) to {last['val_loss']:.2f}"
    return [f"rows: {rose}, while that on training rows fell from {before:.2f} to {after:.2f}; more rows would probably help"]


def _time(config: RunConfig, epochs: list[dict[str, Any]], best: dict[str, Any]) -> list[str]:
    """Whether the model was still getting better at the end."""
    if len(epochs) < 2:
        return ["time: there was 1 epoch only; more time would probably help"]
    where = f"time: {config.best} was best in epoch {best['epoch'] + 1} of {epochs[-1]['epoch'] + 1}"
    return [f"{where}; more time {'would probably help' if best is epochs[-1] else 'alone would hardly help'}"]


def _encoder_time(record: dict[str, Any]) -> list[str]:
    """What a stage that trains the image encoder is likely to give, by the benchmarks."""
    now = record["accuracy"]
    low, high = (now + share * (100 - now) for share in REMOVED)
    gain = f"removed {REMOVED[0]:.0%} to {REMOVED[1]:.0%} of the errors in our benchmarks"
    return [f"time: ten more minutes train the image encoder, too, and {gain}: expect accuracy {low:.1f} to {high:.1f}"]
