"""braid ask, classify: answers to questions, labels for files, texts and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import NOT_SURE, note, print_rows, report_skipped, said, unread, watched
from braid.cli.given import parsed, rows_of
from braid.cli.options import (
    BatchOption,
    InputOption,
    LinesOption,
    MinConfidenceOption,
    ModelOption,
    OptionalFilesArgument,
    SkippedRowsOption,
    StrictOption,
    TextOption,
)
from braid.errors import UserError
from braid.files import ready

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.records import Prediction


def ask(
    words: Annotated[list[str], typer.Argument(help="Files, then questions, each in quotes.", show_default=False)],
    inputs: InputOption = None,
    model: ModelOption = "small",
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: LinesOption = False,
) -> None:
    """Ask questions about images: every question about every image.

    Examples:

        braid ask photo.jpg "what colour is the dog?"

        braid ask *.jpg "how many people are there?" "is it raining?" --json

        braid ask holiday/ "where is this?" --min-confidence 0.5
    """
    from braid.api import load

    if skipped_rows is not None:
        ready(skipped_rows)
    loaded = load(model)
    given = parsed(loaded, inputs)
    paths, questions = _files_and_questions(loaded, words, bool(given))
    asked = [{**row, "question": question} for row in rows_of(loaded, paths, given) for question in questions]
    answers = loaded.answer_rows("vqa", asked, None, batch_size, strict, watched("answering"))
    result = [
        (sample.source, asked[int(sample.id)]["question"], one)
        for one, sample in zip(answers.predictions, answers.samples, strict=True)
    ]
    records = ({"id": source, "question": question, **_as_json(one, min_confidence)} for source, question, one in result)
    rows = [[source, question, _shown(one, min_confidence), f"{one.confidence:.2f}"] for source, question, one in result]
    print_rows(json, records, "Answers", ["file", "question", "answer", "confidence"], rows, ["confidence"])
    report_skipped(skipped_rows, unread(answers))


def classify(
    paths: OptionalFilesArgument = None,
    text: TextOption = "",
    inputs: InputOption = None,
    labels: Annotated[str, typer.Option(help="Labels of your own, split by commas: the nearest by embedding (zero-shot).")] = "",
    model: ModelOption = "small",
    top: Annotated[int, typer.Option(min=1, help="Show so many labels a row.")] = 3,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: LinesOption = False,
) -> None:
    """Label files, texts or both: with a trained classifier, or with any labels of your own.

    Examples:

        braid classify photo.jpg --labels dog,beach,city

        braid classify post.jpg --text "best day ever" --model sentiment

        braid classify photo.jpg --input tabular="price=12,brand=Acme" --model runs/products

        braid classify --text "best day ever" --model sentiment --json
    """
    from braid.api import load
    from braid.evaluation import unseen

    if not paths and not text and not inputs:
        raise UserError("give a file, a text with --text, or another input with --input")
    if skipped_rows is not None:
        ready(skipped_rows)
    chosen = [label.strip() for label in labels.split(",") if label.strip()]
    loaded = load(model)
    given = parsed(loaded, inputs) | ({"text": text} if text else {})
    answers = loaded.classify_rows(rows_of(loaded, paths or [], given), chosen, batch_size, strict, watched("classifying"))
    pairs = [(sample.source, one) for one, sample in zip(answers.predictions, answers.samples, strict=True)]
    records = ({"id": source, **_labelled(one, min_confidence)} for source, one in pairs)
    rows = [[source, _shown(one, min_confidence), _probabilities(one, top)] for source, one in pairs]
    print_rows(json, records, "Labels", ["input", "label", "probabilities"], rows)
    if not chosen:
        for message in unseen(loaded.bundle.interface, loaded.task("classification"), answers.samples):
            note(message)
    report_skipped(skipped_rows, unread(answers))


def _files_and_questions(loaded: "LoadedModel", words: Sequence[str], given: bool) -> tuple[list[str], list[str]]:
    """A file, a folder, a pattern, or a word with the suffix of a file that the model reads; the rest are questions.

    Raises:
        UserError: when there are no files (and nothing else is ``given``), or no questions.
    """
    paths = [word for word in words if Path(word).expanduser().exists() or loaded.is_file(word)]
    questions = [word for word in words if word not in paths]
    if not questions or not (paths or given):
        what = "a question in quotes" if paths else "a file"
        raise UserError(f'{what} is missing; for example: braid ask photo.jpg "what colour is the dog?"')
    return paths, questions


def _as_json(prediction: "Prediction", least: float, name: str = "text") -> dict[str, object]:
    """An answer in JSON; null if the model abstains."""
    return {name: said(prediction, least), "confidence": round(prediction.confidence, 4)}


def _labelled(prediction: "Prediction", least: float) -> dict[str, object]:
    answer = _as_json(prediction, least, "label")
    several = {"labels": prediction.labels if answer["label"] is not None else None} if prediction.labels is not None else {}
    scores = {label: round(score, 4) for label, score in _best(prediction, len(prediction.scores))}
    return {**answer, **several, "scores": scores}


def _shown(prediction: "Prediction", least: float) -> str:
    """An answer in a table. A confident one may be empty: no label of several, no word."""
    text = said(prediction, least)
    if text is None:
        return NOT_SURE
    return "(none)" if prediction.labels == () else text


def _probabilities(prediction: "Prediction", top: int) -> str:
    return "  ".join(f"{name} {score:.2f}" for name, score in _best(prediction, top))


def _best(prediction: "Prediction", top: int) -> list[tuple[str, float]]:
    return sorted(prediction.scores.items(), key=lambda score: -score[1])[:top]
