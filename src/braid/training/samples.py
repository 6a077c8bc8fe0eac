"""What a run keeps of each evaluation for people to look at: some val rows, their pictures, and what the model said."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from braid.errors import UserError
from braid.evaluation import Answers
from braid.modalities import thumbnail
from braid.records import Prediction, Sample
from braid.training.diagnosis import Reliance, same_answer

FILE = "samples.jsonl"
IMAGES = "samples"
SHOWN = 12  # rows
THUMBNAIL = 320  # pixels, the longer side


def write_samples(folder: Path, step: int, epoch: int, answers: Answers, task: str = "") -> None:
    """Append one record: the answers to rows at even distances, the same every epoch, never chosen. ``task`` is named for any
    but the run's main one.

    Pictures are written once, as small JPEGs beside it, so that a report needs no data set.
    """
    total = len(answers.samples)
    rows = [k * total // min(SHOWN, total) for k in range(min(SHOWN, total))]
    shown = []
    for number, row in enumerate(rows):
        sample, answer = answers.samples[row], answers.predictions[row]
        texts = {name: value for name, value in sample.inputs.items() if isinstance(value, str) and name != "image"}
        shown.append(
            {
                "id": sample.id,
                "text": answer.text,
                "confidence": round(answer.confidence, 4),
                "references": list(sample.references),
                "inputs": texts,
                "picture": _image(folder, epoch, f"{task}-{number}" if task else str(number), sample),
                **_drawn(folder, epoch, f"{task}-{number}" if task else str(number), answer),
            }
        )
    with open(folder / FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "epoch": epoch, **({"task": task} if task else {}), "samples": shown}) + "\n")


def _image(folder: Path, epoch: int, number: str, sample: Sample) -> str | None:
    """The thumbnail's path within the run's folder; None for a row without a picture."""
    name = f"{IMAGES}/{number}.jpg"
    if epoch > 0 and (folder / name).is_file():  # an earlier attempt may have left another's
        return name
    try:  # what there is to see, else what was to be drawn
        encoded = thumbnail((sample.inputs if "image" in sample.inputs else sample.targets)["image"], THUMBNAIL, sample.source)
    except (KeyError, UserError):
        return None
    (folder / IMAGES).mkdir(exist_ok=True)
    (folder / name).write_bytes(encoded)
    return name


def _drawn(folder: Path, epoch: int, number: str, answer: Prediction) -> dict[str, str]:
    """The path of a picture that the model drew, by epoch."""
    if answer.image is None:
        return {}
    name = f"{IMAGES}/{number}-epoch-{epoch + 1}.png"
    (folder / IMAGES).mkdir(exist_ok=True)
    Image.fromarray(answer.image.pixels).save(folder / name)
    return {"drawn": name}


def diagnosed(answers: Answers, result: Sequence[Reliance]) -> dict[str, Any]:
    """The figures behind the warnings, and the warnings, as the epoch's record keeps them."""
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
