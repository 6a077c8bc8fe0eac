"""What a run keeps of each evaluation for people to look at: some val rows, their inputs, and the model's answers."""

import json
import mimetypes
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from braid.evaluation import Answers
from braid.modalities import show
from braid.records import Prediction, View
from braid.reports.rows import SIZE, input_views, places, references_of
from braid.training.diagnosis import Reliance, same_answer

FILE = "samples.jsonl"
MEDIA = "samples"


def write_samples(
    folder: Path, step: int, epoch: int, answers: Answers, modalities: Mapping[str, Any], output: str, task: str = ""
) -> None:
    """Append one record: the answers to rows at even distances, the same every epoch, never chosen.

    Images and other media are written beside it as small files, so that a report needs no data set.

    Args:
        modalities: the inputs of the model, by name.
        output: the output that answers.
        task: the task's name, for any but the run's main one.
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
        file.write(json.dumps({"step": step, "epoch": epoch, **({"task": task} if task else {}), "samples": shown}) + "\n")


def _kept(folder: Path, name: str, view: View) -> dict[str, Any]:
    """A view as ``samples.jsonl`` holds it: its media in a file of their own."""
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
    """The image that was to be generated, and the one that the model generated, by epoch."""
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
    """The metrics behind the warnings, and the warnings, as the epoch's record keeps them."""
    texts = Counter(prediction.text for prediction in answers.predictions if prediction.text is not None)
    message: dict[str, Any] = {}
    if texts:
        (text, times), *_ = texts.most_common(1)
        message["answers"] = {"rows": texts.total(), "distinct": len(texts), "commonest": text, "times": times}
        message["answers"]["warning"] = same_answer(answers.predictions)
        message["reliance"] = {
            one.input: {"loss": round(one.loss, 5), "loss_shuffled": round(one.loss_shuffled, 5), "warning": one.warning}
            for one in result
        }
    return message


def warnings(message: dict[str, Any]) -> list[str]:
    """The warnings in what ``diagnosed`` found."""
    parts = [message["answers"], *message["reliance"].values()] if "answers" in message else []
    return [part["warning"] for part in parts if part["warning"]]
