"""Rows and answers that a run keeps of each evaluation, and its warnings when something is wrong."""

import mimetypes
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from braid.config import json_text
from braid.errors import UserError
from braid.evaluation import Answers
from braid.modalities import input_in_words, show
from braid.records import Batch, Prediction, View
from braid.reports.rows import SIZE, input_views, places, references_of
from braid.shapes import Float

FILE = "samples.jsonl"
MEDIA = "samples"
CONFUSED = 3  # pairs of labels that a record names


def check_loss(loss: Float[Tensor, ""], step: int, ids: Sequence[str]) -> None:
    """Stop the run if the loss is not a number, before it changes the weights."""
    if not torch.isfinite(loss):
        raise diverged(f"the loss is {float(loss.detach())} at step {step} (rows {', '.join(ids[:3])}, ...)")


def diverged(what: str) -> UserError:
    """The error of a run whose numbers are no longer finite; it is raised before any of them is saved."""
    return UserError(
        f"{what}; the last checkpoint is from before. "
        "Halve optimizer.learning_rate, keep optimizer.clip at 1, or use precision: float32, then --resume"
    )


def kind_of(prediction: Prediction) -> str:
    """What a prediction is, in a word."""
    return "label" if prediction.label is not None else "number" if prediction.value is not None else "text"


def same_answer(predictions: Sequence[Prediction]) -> str | None:
    """Warn when many different images get the same answer."""
    texts = {prediction.text for prediction in predictions}
    if len(predictions) >= 8 and len(texts) == 1:
        (text,), what = texts, kind_of(predictions[0])
        return f"all {len(predictions)} rows get the same {what} {text!r}; train longer, or check that inputs reach the model"
    return None


@dataclass(frozen=True)
class Reliance:
    """Mean val loss with the true value of one input, and with another row's value in its place."""

    input: str
    loss: float
    loss_shuffled: float

    @property
    def warning(self) -> str | None:
        if self.loss_shuffled > 1.005 * self.loss:
            return None
        losses = f"{self.loss:.3f}, and {self.loss_shuffled:.3f} with other rows' values in its place"
        return (
            f"the model ignores its input {input_in_words(self.input)}: val loss is {losses}; "
            "train longer, or check that the column belongs to its row"
        )


@torch.no_grad()
def reliance(loss_of: Callable[[Batch], Tensor], batches: Sequence[Batch], losses: Sequence[float], name: str) -> Reliance | None:
    """Compare the losses of batches with those when input ``name`` is rolled; None if no batch has two distinct values of it."""
    usable = [
        (batch, loss)
        for batch, loss in zip(batches, losses, strict=True)
        if name in batch.inputs and batch.inputs[name].distinct.values.shape[0] > 1
    ]
    if not usable:
        return None
    pairs = [[loss, float(loss_of(_rolled(batch, name)))] for batch, loss in usable]
    true, shuffled = torch.tensor(pairs).mean(0).tolist()
    return Reliance(name, true, shuffled)


def _rolled(batch: Batch, name: str) -> Batch:
    """Give every row the value that follows its own among the batch's distinct values."""
    given = batch.inputs[name]
    moved = (given.index + 1) % given.distinct.values.shape[0]
    return replace(batch, inputs={**batch.inputs, name: replace(given, index=torch.where(given.index < 0, given.index, moved))})


def write_samples(
    folder: Path, step: int, epoch: int, answers: Answers, modalities: Mapping[str, Any], output: str, task: str = ""
) -> None:
    """Append a record with the answers to some rows: evenly spaced, the same in every epoch, and not selected by hand.

    Images and other media are written beside it as small files, so that a report does not need the data set.

    Args:
        modalities: the inputs of the model, by name.
        output: the output that gives the answers.
        task: the task's name; "" for the run's main task.
    """
    shown = []
    for number, row in enumerate(places(len(answers.samples))):
        sample, answer = answers.samples[row], answers.predictions[row]
        name = f"{task}-{number}" if task else str(number)
        views = input_views(sample, modalities)
        shown.append(
            {
                "id": sample.id,
                "text": answer.text,
                "confidence": round(answer.confidence, 4),
                "references": list(references_of(sample)),
                "inputs": {key: _kept(folder, f"{name}-{key}", view) for key, view in views.items()},
                **_generated(folder, name, epoch, sample.targets.get(output), answer),
            }
        )
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(json_text({"step": step, "epoch": epoch, **({"task": task} if task else {}), "samples": shown}) + "\n")


def _kept(folder: Path, name: str, view: View) -> dict[str, Any]:
    """A view as stored in ``samples.jsonl``; its media are in a separate file."""
    kept: dict[str, Any] = {"text": view.text}
    if view.cells:
        kept["cells"] = dict(view.cells)
    if view.media:
        path = f"{MEDIA}/{name}{mimetypes.guess_extension(view.media_type) or '.bin'}"
        (folder / MEDIA).mkdir(exist_ok=True)
        (folder / path).write_bytes(view.media)
        kept |= {"media": path, "media_type": view.media_type}
    return kept


def _generated(folder: Path, name: str, epoch: int, target: Any, answer: Prediction) -> dict[str, Any]:
    """The files of the target image and of the generated image of this epoch."""
    if answer.image is None:
        return {}
    path = f"{MEDIA}/{name}-epoch-{epoch + 1}.png"
    (folder / MEDIA).mkdir(exist_ok=True)
    Image.fromarray(answer.image.pixels).save(folder / path)
    return {
        "target": _kept(folder, f"{name}-target", show("target", target, SIZE)),
        "generated": {"text": "generated", "media": path, "media_type": "image/png"},
    }


def diagnosed(answers: Answers, result: Sequence[Reliance]) -> dict[str, Any]:
    """The metrics behind the warnings, and the warnings, as stored in the epoch's record."""
    texts = Counter(prediction.text for prediction in answers.predictions if prediction.text is not None)
    message: dict[str, Any] = {}
    if texts:
        (text, times), *_ = texts.most_common(1)
        message["answers"] = {"rows": texts.total(), "distinct": len(texts), "commonest": text, "times": times}
        message["answers"]["what"] = kind_of(answers.predictions[0])
        message["answers"]["warning"] = same_answer(answers.predictions)
        message["reliance"] = {
            one.input: {"loss": round(one.loss, 5), "loss_shuffled": round(one.loss_shuffled, 5), "warning": one.warning}
            for one in result
        }
    if confused := confusions(answers):
        message["confusions"] = confused
    return message


def confusions(answers: Answers) -> list[tuple[str, str, int, int]]:
    """The labels that were taken for another one most often: the true label, the answer, how often, and of how many rows."""
    pairs = [
        (sample.references[0], one.label)
        for one, sample in zip(answers.predictions, answers.samples, strict=True)
        if one.label is not None and one.labels is None and sample.references
    ]
    rows = Counter(truth for truth, _ in pairs)
    wrong = Counter((truth, answer) for truth, answer in pairs if truth != answer)
    return [(truth, answer, count, rows[truth]) for (truth, answer), count in wrong.most_common(CONFUSED) if count > 1]


def warnings(message: dict[str, Any], last: bool) -> list[str]:
    """The warnings in what ``diagnosed`` found; whether an input is ignored can be said after the ``last`` epoch only."""
    parts = [message["answers"], *(message["reliance"].values() if last else ())] if "answers" in message else []
    return [part["warning"] for part in parts if part["warning"]]
