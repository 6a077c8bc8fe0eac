"""braid ask, classify: questions about pictures, labels for pictures and texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import (
    NOT_SURE,
    MinConfidenceOption,
    SkippedRowsOption,
    StrictOption,
    finish,
    note,
    print_json,
    print_table,
    progress,
    said,
)
from braid.errors import UserError
from braid.files import ready
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.evaluation import Answers
    from braid.records import Prediction

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A built-in name, a model's folder or a run's folder.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Rows answered at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def ask(
    words: Annotated[list[str], typer.Argument(help="Pictures, then questions, each in quotes.", show_default=False)],
    model: ModelOption = "small",
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Ask questions about pictures: every question of every picture.

    Examples:

        braid ask photo.jpg "what colour is the dog?"

        braid ask *.jpg "how many people are there?" "is it raining?" --json

        braid ask holiday/ "where is this?" --min-confidence 0.5
    """
    from braid.api import load
    from braid.modalities import image_files
    from braid.records import Example

    paths, questions = _pictures_and_questions(words)
    if skipped_rows is not None:
        ready(skipped_rows)
    pairs = [(file, question) for file in image_files(paths) for question in questions]
    examples = [Example(str(row), {"image": f, "question": q}, source=f) for row, (f, q) in enumerate(pairs)]
    answers = load(model).predict(
        "vqa", examples, None, batch_size, strict, lambda batches, total: progress(batches, "answering", total)
    )
    result = [(pairs[int(prediction.id)], prediction) for prediction in answers.predictions]
    if json:
        for (file, question), prediction in result:
            print_json({"id": file, "question": question, **_told(prediction, min_confidence)})
    else:
        rows = [[*pair, _shown(prediction, min_confidence), f"{prediction.confidence:.2f}"] for pair, prediction in result]
        print_table("Answers", ["picture", "question", "answer", "confidence"], rows, ["confidence"])
    _finish(answers, skipped_rows)


def classify(
    paths: Annotated[list[str] | None, typer.Argument(help="Pictures, patterns or folders.", show_default=False)] = None,
    text: Annotated[str, typer.Option(help="A text: alone, or together with every picture.")] = "",
    labels: Annotated[str, typer.Option(help="Any labels, split by commas: the nearest by embedding (zero-shot).")] = "",
    model: ModelOption = "small",
    top: Annotated[int, typer.Option(min=1, help="Show so many labels a row.")] = 3,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Label pictures, texts or both: by a trained classifier, or with any labels of your own.

    Examples:

        braid classify photo.jpg --labels dog,beach,city

        braid classify post.jpg --text "best day ever" --model sentiment

        braid classify --text "best day ever" --model sentiment --json
    """
    from braid.api import load
    from braid.modalities import image_files

    if not paths and not text:
        raise UserError("give a picture, or a text with --text")
    if skipped_rows is not None:
        ready(skipped_rows)
    files = image_files(paths) if paths else []
    chosen = [label.strip() for label in labels.split(",") if label.strip()]
    loaded = load(model)
    answers = loaded.classify_all(
        files, text, chosen, batch_size, strict, lambda batches, total: progress(batches, "classifying", total)
    )
    if json:
        for result in answers.predictions:
            scores = {label: round(score, 4) for label, score in _best(result, len(result.scores))}
            message = _told(result, min_confidence, "label")
            several = {"labels": result.labels if message["label"] is not None else None} if result.labels is not None else {}
            print_json({"id": result.id, **message, **several, "scores": scores})
    else:
        rows = [
            [
                result.id,
                _shown(result, min_confidence),
                *("  ".join(f"{name} {score:.2f}" for name, score in _best(result, top)),),
            ]
            for result in answers.predictions
        ]
        print_table("Labels", ["input", "label", "probabilities"], rows)
    if not chosen:
        for unseen in loaded.unseen(loaded.task("classification"), answers.samples):
            note(unseen)
    _finish(answers, skipped_rows)


def _pictures_and_questions(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is a file, a folder, a pattern or has a picture's ending is a picture; the rest are questions.

    Raises:
        UserError: when there is none of the one or of the other.
    """
    from braid.modalities import is_image

    paths = [word for word in words if Path(word).expanduser().exists() or is_image(word)]
    questions = [word for word in words if word not in paths]
    if not paths or not questions:
        what = "a question in quotes" if paths else "a picture"
        raise UserError(f'{what} is missing; for example: braid ask photo.jpg "what colour is the dog?"')
    return paths, questions


def _told(prediction: "Prediction", least: float, name: str = "text") -> dict[str, object]:
    """What JSON says: null where the model abstains."""
    return {name: said(prediction, least), "confidence": round(prediction.confidence, 4)}


def _shown(prediction: "Prediction", least: float) -> str:
    """What a table says. One that is sure may say nothing: no label of several, no word."""
    text = said(prediction, least)
    if text is None:
        return NOT_SURE
    return "(none)" if prediction.labels == () else text


def _best(prediction: "Prediction", top: int) -> list[tuple[str, float]]:
    return sorted(prediction.scores.items(), key=lambda score: -score[1])[:top]


def _finish(answers: "Answers", skipped_rows: Path | None) -> None:
    without = SkippedRows(note)
    without.add((sample.source, reason) for sample, reason in answers.skipped)
    finish(without, skipped_rows)
    if len(without):
        raise typer.Exit(1)
