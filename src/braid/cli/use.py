"""braid caption, complete, predict: a finished model at work."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_rows, report_each, report_skipped, said, unread, watched
from braid.cli.given import choose_task, columns_of, parsed, rows_of
from braid.cli.options import (
    BatchOption,
    BeamOption,
    ColumnsOption,
    FilesArgument,
    InputOption,
    JsonOption,
    LinesOption,
    MinConfidenceOption,
    ModelArgument,
    ModelOption,
    SeedOption,
    SkippedRowsOption,
    StrictOption,
    TaskOption,
    TemperatureHelp,
)
from braid.errors import UserError
from braid.files import ready, whole

if TYPE_CHECKING:
    from braid.datasets.table import Table
    from braid.records import Prediction


def caption(
    paths: FilesArgument,
    inputs: InputOption = None,
    model: ModelOption = "small",
    beam: BeamOption = None,
    batch_size: BatchOption = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: LinesOption = False,
) -> None:
    """Describe images: path, caption, confidence.

    Examples:

        braid caption dog.jpg

        braid caption *.png holiday/ --beam 5 --json

        braid caption dog.jpg --model hf:Salesforce/blip-image-captioning-base
    """
    from braid.api import load

    if skipped_rows is not None:
        ready(skipped_rows)
    loaded = load(model)
    rows = rows_of(loaded, paths, parsed(loaded, inputs))
    answers = loaded.answer_rows("captioning", rows, beam, batch_size, strict, watched("describing"))
    pairs = [(sample.source, one) for one, sample in zip(answers.predictions, answers.samples, strict=True)]
    records = ({"id": source, "text": one.text, "confidence": round(one.confidence, 4)} for source, one in pairs)
    cells = [[source, one.text, f"{one.confidence:.2f}"] for source, one in pairs]
    print_rows(json, records, "Captions", ["file", "caption", "confidence"], cells, ["confidence"])
    report_skipped(skipped_rows, unread(answers))


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
        result = loaded.complete(text, config)
        if json:
            print_json({"id": str(number), "text": result.text, "confidence": round(result.confidence, 4)})
        else:
            print(result.text)
    if () not in loaded.bundle.interface.trained_on:
        note("this model was never trained without its inputs; its continuations may be poor")


def predict(
    model: ModelArgument,
    table: Annotated[Path, typer.Argument(help="csv, tsv, jsonl or parquet, with an input in each row.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write: the same with the predictions added.")],
    task: TaskOption = "",
    columns: ColumnsOption = "",
    beam: BeamOption = None,
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
    from braid.datasets.table import check_name, read_table, table_examples, write_table
    from braid.evaluation import unseen
    from braid.records import Example
    from braid.tasks import confident

    loaded = load(model)
    chosen = loaded.task(choose_task(loaded, task), beam)
    if min_confidence:
        confident(chosen, "--min-confidence")
    check_name(output)
    ready(output)
    given = read_table(table)
    rows = table_examples(given, columns_of(loaded, columns, table), chosen.target_fields)
    examples = {number: row for number, row in enumerate(rows) if isinstance(row, Example)}
    numbered = [Example(str(number), row.fields, row.split, row.source) for number, row in examples.items()]
    answers = loaded.predict(chosen.kind, numbered, beam, batch_size, strict, watched("predicting"))
    reasons = {number: f"{row.source}: {row.reason}" for number, row in enumerate(rows) if not isinstance(row, Example)}
    if strict and reasons:
        raise UserError(reasons[min(reasons)])
    reasons |= {int(sample.id): reason for sample, reason in answers.skipped}
    result = {int(prediction.id): prediction for prediction in answers.predictions}
    write_table(_joined(given, _with_images(result, output), reasons, min_confidence), output)
    if json:
        print_json({"output": str(output), "num_samples": len(result), "num_broken": len(reasons)})
    else:
        note(f"{len(result)} rows predicted, {len(reasons)} could not be read: {output}")
    for message in unseen(loaded.bundle.interface, chosen, answers.samples):
        note(message)
    if report_each((rows[number].source, reasons[number]) for number in sorted(reasons)):
        raise typer.Exit(1)


def _with_images(result: dict[int, "Prediction"], output: Path) -> dict[int, "Prediction"]:
    """Write generated images, one a row; its path, relative to the output's folder, stands for it."""
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


def _joined(table: "Table", result: dict[int, Any], reasons: dict[int, str], least: float) -> "Table":
    from braid.datasets.table import Table

    added = ["prediction", "confidence", *(["error"] if reasons else [])]
    named = {name: name if name not in table.columns else f"braid_{name}" for name in added}
    rows = []
    for number, row in enumerate(table.rows):
        answer = result.get(number)
        values = {
            "prediction": (said(answer, least) or "") if answer else "",
            "confidence": f"{answer.confidence:.4f}" if answer else "",
            "error": reasons.get(number, ""),
        }
        cells = row if isinstance(row, dict) else {}
        rows.append({**cells, **{named[name]: values[name] for name in added}})
    return Table((*table.columns, *named.values()), tuple(rows), table.path)
