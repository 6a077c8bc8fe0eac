"""braid caption, ask, classify, complete, predict, imagine: a finished model at work."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import (
    NOT_SURE,
    answer_of,
    labels_beside,
    note,
    perhaps,
    print_json,
    print_rows,
    print_text,
    report_each,
    report_skipped,
    skipped_of,
    with_progress,
)
from braid.cli.options import (
    BatchOption,
    BeamOption,
    ColumnsOption,
    FilesArgument,
    InputOption,
    JsonOption,
    LanguageOption,
    LinesOption,
    MinConfidenceOption,
    ModelOption,
    OptionalFilesArgument,
    SeedOption,
    SkippedRowsOption,
    StrictOption,
    TaskOption,
    TemperatureHelp,
    TextOption,
    choose_task,
    columns_of,
    given_text,
    names_file,
    note_cut,
    note_trained,
    parsed,
    rows_of,
)
from braid.cli.places import ModelAndDataWords, model_and_data
from braid.errors import UserError
from braid.files import ready, whole

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.datasets.table import Table
    from braid.records import Prediction


def caption(
    paths: FilesArgument,
    inputs: InputOption = None,
    model: ModelOption = "small",
    beam: BeamOption = None,
    language: LanguageOption = "",
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: LinesOption = False,
) -> None:
    """Describe images, clips or recordings, as the model reads them: path, caption, confidence.

    Beside a caption that it is not sure of, the model may name what else it sees, "(perhaps: tripod)".

    Examples:

        braid caption dog.jpg

        braid caption dog.jpg --language zh

        braid caption clip.mp4 --model runs/clips

        braid caption *.png holiday/ --beam 5 --json

        braid caption dog.jpg --model hf:Salesforce/blip-image-captioning-base
    """
    from braid.api import load
    from braid.evaluation import empty_answers

    if skipped_rows is not None:
        ready(skipped_rows)
    loaded = load(model)
    rows = rows_of(loaded, paths, parsed(loaded, inputs))
    answers = loaded.answer_rows("captioning", rows, beam, batch_size, strict, with_progress("describing"), language)
    pairs = [(sample.source, one) for one, sample in zip(answers.predictions, answers.samples, strict=True)]
    records = ({"id": source, **_as_json(one, min_confidence), **labels_beside(one)} for source, one in pairs)
    cells = [[source, _shown(one, min_confidence) + perhaps(one), f"{one.confidence:.2f}"] for source, one in pairs]
    print_rows(json, records, "Captions", ["file", "caption", "confidence"], cells, ["confidence"])
    for message in empty_answers(answers.predictions):
        note(message)
    report_skipped(skipped_rows, skipped_of(answers))


def complete(
    text: Annotated[str, typer.Argument(help="The beginning of the text.")],
    model: ModelOption = "small",
    samples: Annotated[int, typer.Option(min=1, help="How many continuations.")] = 1,
    temperature: Annotated[float, typer.Option(help=TemperatureHelp)] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from so many of the most probable tokens; 0 takes all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample from the most probable tokens that make up this probability.")] = 0.9,
    seed: SeedOption = 0,
    json: LinesOption = False,
) -> None:
    """Continue a text: the text decoder alone is a language model, too.

    Examples:

        braid complete "a dog runs"

        braid complete "two children" --samples 5 --temperature 1.0
    """
    from braid.api import load
    from braid.generation import GenerationConfig

    loaded = load(model)
    for number in range(samples):
        config = GenerationConfig(method="sample", temperature=temperature, top_k=top_k, top_p=top_p, seed=seed + number)
        result = loaded.complete(given_text(text), config)
        if json:
            print_json({"id": str(number), "text": result.text, "confidence": round(result.confidence, 4)})
        else:
            print_text(result.text)
    if () not in loaded.bundle.interface.trained_on:
        note("this model was never trained without its inputs; its continuations may be poor")


def predict(
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write: the same with the predictions added.")],
    words: ModelAndDataWords = None,
    model: ModelOption = "",
    data: Annotated[str, typer.Option(help="csv, tsv, jsonl or parquet, with an input in each row; or a folder.")] = "",
    task: TaskOption = "",
    columns: ColumnsOption = "",
    beam: BeamOption = None,
    language: LanguageOption = "",
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 32,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Add a prediction and its confidence to every row of a table; every column is kept.

    Generated images go to a folder named after the output; the prediction column holds their paths. A row that cannot be read
    keeps its place, with the reason in the column `error`. A row below --min-confidence has its confidence and no prediction.

    Examples:

        braid predict small photos.csv --task captioning -o captioned.csv

        braid predict runs/vqa questions.jsonl -o answered.jsonl --columns image=photo
    """
    from braid.api import load
    from braid.datasets.table import check_name, table_for, write_table
    from braid.evaluation import cut_texts, empty_answers, unseen
    from braid.tables import predicted
    from braid.tasks import confident

    model, data = model_and_data("predict", words, model, data)
    table = Path(data)
    loaded = load(model)
    chosen = loaded.task(choose_task(loaded, task), beam, language)
    if min_confidence:
        confident(chosen, "--min-confidence")
    check_name(output)
    ready(output)
    named = columns_of(loaded, columns, table)
    done = predicted(loaded, chosen.kind, table, named, beam, language, batch_size, strict, with_progress("predicting"), note)
    given, answers, reasons, result = done.table, done.answers, done.reasons, done.predictions
    whole_table = table_for(given, named, output)
    write_table(_joined(whole_table, _with_images(result, output), reasons, min_confidence), output)
    if json:
        print_json({"output": str(output), "num_samples": len(result), "num_broken": len(reasons)})
    else:
        below = sum(one.confidence < min_confidence for one in result.values())
        unsure = f", {below} of them below --min-confidence" if below else ""
        note(f"{output}: {len(result)} of {done.num_rows} rows predicted{unsure}, {len(reasons)} could not be read")
    note_trained(loaded, answers.samples, "their predictions")
    cut = cut_texts(loaded.bundle.inputs, answers.samples)
    unlike = unseen(loaded.bundle.interface, chosen, answers.samples)
    for message in (*(f"{table}: {text}" for text in (*given.notes, *cut)), *unlike, *empty_answers(answers.predictions)):
        note(message)
    if report_each(done.broken):
        raise typer.Exit(1)


def _with_images(result: Mapping[int, "Prediction"], output: Path) -> dict[int, "Prediction"]:
    """Write generated images, one per row; a prediction then has the image's path, relative to the output's folder."""
    from PIL import Image

    named = {}
    for number, one in result.items():
        named[number] = one
        if one.image is not None:
            path = output.with_suffix("") / f"{number + 1}.png"
            path.parent.mkdir(exist_ok=True)
            with whole(path) as fresh:
                Image.fromarray(one.image.pixels).save(fresh, format="PNG")
            named[number] = replace(one, text=str(path.relative_to(output.parent)))
    return named


def _joined(table: "Table", result: Mapping[int, Any], reasons: Mapping[int, str], least: float) -> "Table":
    from braid.datasets.table import Table

    added = ["prediction", "confidence", *(["error"] if reasons else [])]
    named = {name: _free(name, table.columns) for name in added}
    rows = []
    for number, row in enumerate(table.rows):
        answer = result.get(number)
        values = {
            "prediction": (answer_of(answer, least) or "") if answer else "",
            "confidence": round(answer.confidence, 4) if answer else None,
            "error": reasons.get(number, ""),
        }
        cells = row if isinstance(row, dict) else {}
        rows.append({**cells, **{named[name]: values[name] for name in added}})
    return Table((*table.columns, *named.values()), tuple(rows), table.path)


def _free(name: str, taken: Sequence[str]) -> str:
    """A name for a column that no other column has, however often a table went through ``predict``."""
    others = (f"braid_{name}_{number}" for number in count(2))
    return next(one for one in chain([name, f"braid_{name}"], others) if one not in taken)


def ask(
    words: Annotated[
        list[str],
        typer.Argument(help="Files, then questions, each in quotes; after --, if one begins with a dash.", show_default=False),
    ],
    inputs: InputOption = None,
    model: ModelOption = "small",
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: LinesOption = False,
) -> None:
    """Ask questions about images, clips or recordings: every question about every file.

    Examples:

        braid ask photo.jpg "what colour is the dog?"

        braid ask clip.mp4 "what moves left?" --model runs/clips

        braid ask *.jpg "how many people are there?" "is it raining?" --json

        braid ask holiday/ "where is this?" --min-confidence 0.5
    """
    from braid.api import load
    from braid.evaluation import cut_texts, empty_answers

    if skipped_rows is not None:
        ready(skipped_rows)
    loaded = load(model)
    given = parsed(loaded, inputs)
    paths, questions = _files_and_questions(loaded, words, bool(given))
    for question in questions:
        given_text(question, "the question")
    asked = [{**row, "question": question} for row in rows_of(loaded, paths, given) for question in questions]
    answers = loaded.answer_rows("vqa", asked, None, batch_size, strict, with_progress("answering"))
    result = [
        (sample.source, asked[int(sample.id)]["question"], one)
        for one, sample in zip(answers.predictions, answers.samples, strict=True)
    ]
    records = ({"id": source, "question": question, **_as_json(one, min_confidence)} for source, question, one in result)
    rows = [[source, question, _shown(one, min_confidence), f"{one.confidence:.2f}"] for source, question, one in result]
    print_rows(json, records, "Answers", ["file", "question", "answer", "confidence"], rows, ["confidence"])
    for message in (*cut_texts(loaded.bundle.inputs, answers.samples), *empty_answers(answers.predictions)):
        note(message)
    report_skipped(skipped_rows, skipped_of(answers))


def classify(
    paths: OptionalFilesArgument = None,
    text: TextOption = "",
    inputs: InputOption = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="Labels of your own, split by commas: the nearest by embedding. Repeatable.")
    ] = None,
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

        braid classify photo.jpg --labels 'dog,"salt, pepper"'

        braid classify post.jpg --text "best day ever" --model sentiment

        braid classify photo.jpg --input tabular="price=12,brand=Acme" --model runs/products

        braid classify dog.ogg --model runs/sounds

        braid classify --text "best day ever" --model sentiment --json
    """
    from braid.api import load
    from braid.evaluation import cut_texts, unseen
    from braid.search import PHRASE, labels_of

    if not paths and not text and not inputs:
        raise UserError("give a file, a text with --text, or another input with --input")
    if skipped_rows is not None:
        ready(skipped_rows)
    if text:
        given_text(text)
    chosen = labels_of(",".join(labels or []))
    loaded = load(model)
    given = parsed(loaded, inputs) | ({"text": text} if text else {})
    answers = loaded.classify_rows(rows_of(loaded, paths or [], given), chosen, batch_size, strict, with_progress("classifying"))
    pairs = [(sample.source, one) for one, sample in zip(answers.predictions, answers.samples, strict=True)]
    records = ({"id": source, **_labelled(one, min_confidence)} for source, one in pairs)
    rows = [[source, _shown(one, min_confidence), _probabilities(one, top)] for source, one in pairs]
    print_rows(json, records, "Labels", ["input", "label", "probabilities"], rows)
    for message in cut_texts(loaded.bundle.inputs, answers.samples):
        note(message)
    note_cut(loaded, [PHRASE.format(label) for label in chosen])
    if not chosen:
        for message in unseen(loaded.bundle.interface, loaded.task("classification"), answers.samples):
            note(message)
    report_skipped(skipped_rows, skipped_of(answers))


def _files_and_questions(loaded: "LoadedModel", words: Sequence[str], given: bool) -> tuple[list[str], list[str]]:
    """Split words into files and questions; see ``names_file``.

    Raises:
        UserError: when there are no files (and nothing else is ``given``), or no questions.
    """
    paths = [word for word in words if names_file(loaded, word)]
    questions = [word for word in words if word not in paths]
    if not questions or not (paths or given):
        what = "a question in quotes" if paths else "a file"
        if lost := [word for word in questions if loaded.is_file(word)]:
            raise UserError(f"{lost[0]} does not exist; check the path")
        raise UserError(f'{what} is missing; for example: braid ask photo.jpg "what colour is the dog?"')
    return paths, questions


def _as_json(prediction: "Prediction", least: float, name: str = "text") -> dict[str, object]:
    """An answer as JSON; null if the model abstains."""
    return {name: answer_of(prediction, least), "confidence": round(prediction.confidence, 4)}


def _labelled(prediction: "Prediction", least: float) -> dict[str, object]:
    answer = _as_json(prediction, least, "label")
    several = {"labels": prediction.labels if answer["label"] is not None else None} if prediction.labels is not None else {}
    scores = {label: round(score, 4) for label, score in _best(prediction, len(prediction.scores))}
    return {**answer, **several, "scores": scores}


def _shown(prediction: "Prediction", least: float) -> str:
    """An answer for a table. A confident answer may be empty: no label (if a row may have several), or no word."""
    text = answer_of(prediction, least)
    if text is None:
        return NOT_SURE
    return "(none)" if prediction.labels == () else text


def _probabilities(prediction: "Prediction", top: int) -> str:
    return "  ".join(f"{name} {score:.2f}" for name, score in _best(prediction, top))


def _best(prediction: "Prediction", top: int) -> list[tuple[str, float]]:
    return sorted(prediction.scores.items(), key=lambda score: -score[1])[:top]


OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where to write the image; of several, name-1, name-2, ...")]


def imagine(
    prompt: Annotated[str, typer.Argument(help="What the image shows; with --image, what to change.", show_default=False)],
    model: ModelOption = "imagine",
    output: OutputOption = Path("imagined.png"),
    image: Annotated[Path | None, typer.Option(help="An image to edit.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 1,
    seed: SeedOption = 0,
    guidance: Annotated[
        float | None, typer.Option(help="How closely to follow the prompt; 1 is the model alone. Default: the model's own.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help=TemperatureHelp)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of a model that predicts all tokens together.")] = None,
    json: LinesOption = False,
) -> None:
    """Generate images from a sentence, or edit an image as the sentence says.

    Examples:

        braid imagine "a small red circle left of a large blue square" --count 4 --seed 7 -o shapes.png

        braid imagine "make the circle green" --image shapes-1.png -o changed.png
    """
    from PIL import Image

    from braid.api import load

    ready(output)
    loaded = load(model)
    given = {"guidance": guidance, "temperature": temperature, "steps": steps}
    sampling = {name: value for name, value in given.items() if value is not None}
    result = loaded.generate_images(prompt, image, count, seed, with_progress("generating"), **sampling)
    records = []
    for number, one in enumerate(result, 1):
        assert one.image is not None  # the task always returns an image
        path = output if count == 1 else output.with_stem(f"{output.stem}-{number}")
        with whole(path) as fresh:
            Image.fromarray(one.image.pixels).save(fresh, format="PNG")
        records.append({"path": str(path), "text": one.text})
    described = any(one["text"] for one in records)
    rows = [[one["path"], *([one["text"] or ""] if described else [])] for one in records]
    print_rows(json, records, "Generated images", ["image", *(["it shows"] if described else [])], rows)
    if output.suffix.lower() != ".png":
        note(f"{output.name} is written as PNG, whatever its name says")
