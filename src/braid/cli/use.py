"""braid caption, complete, predict: a finished model at work."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import (
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
from braid.files import ready, whole
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.datasets.table import Table
    from braid.records import Prediction

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A built-in name, a folder, or hf:NAME_OR_FOLDER.")]
BeamOption = Annotated[int | None, typer.Option(min=1, help="Beams; 1 is greedy. Default: the model's own.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def caption(
    paths: Annotated[list[str], typer.Argument(help="Pictures, patterns or folders.", show_default=False)],
    model: ModelOption = "small",
    beam: BeamOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures described at once.")] = 16,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Describe pictures: path, caption, confidence.

    Examples:

        braid caption dog.jpg

        braid caption *.png holiday/ --beam 5 --json

        braid caption dog.jpg --model hf:Salesforce/blip-image-captioning-base
    """
    from braid.api import load
    from braid.modalities import image_files
    from braid.records import Example

    if skipped_rows is not None:
        ready(skipped_rows)
    files = image_files(paths)
    loaded = load(model)
    examples = [Example(file, {"image": file}, source=file) for file in files]
    answers = loaded.predict(
        "captioning", examples, beam, batch_size, strict, lambda batches, total: progress(batches, "describing", total)
    )
    if json:
        for result in answers.predictions:
            print_json({"id": result.id, "text": result.text, "confidence": round(result.confidence, 4)})
    elif answers.predictions:
        rows = [[result.id, result.text, f"{result.confidence:.2f}"] for result in answers.predictions]
        print_table("Captions", ["picture", "caption", "confidence"], rows, ["confidence"])
    without = SkippedRows(note)
    without.add((sample.source, reason) for sample, reason in answers.skipped)
    finish(without, skipped_rows)
    if len(without):
        raise typer.Exit(1)


def complete(
    text: Annotated[str, typer.Argument(help="The beginning.")],
    model: ModelOption = "small",
    samples: Annotated[int, typer.Option(min=1, help="How many continuations.")] = 1,
    temperature: Annotated[float, typer.Option(help="Higher is wilder.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among so many likeliest tokens; 0 takes all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Choose among the likeliest tokens that make up this share.")] = 0.9,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
    json: JsonOption = False,
) -> None:
    """Go on with a text: the text decoder alone is a language model too.

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
    model: Annotated[str, typer.Argument(help="A built-in name, a folder, or hf:NAME_OR_FOLDER.")],
    table: Annotated[Path, typer.Argument(help="csv, tsv, jsonl or parquet, one row a question.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The same table with the predictions added.")],
    task: Annotated[str, typer.Option(help="Default: the model's only task.")] = "",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,question=text")] = "",
    beam: BeamOption = None,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered at once.")] = 32,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Add a prediction and its confidence to every row of a table; every column is kept. Pictures that are drawn lie in a folder
    named after the output, and the prediction is where.

    A row that cannot be read keeps its place, with the reason in the column `error`; one that the model is not sure of, with its
    confidence and no prediction.

    Examples:

        braid predict small photos.csv --task captioning -o captioned.csv

        braid predict runs/vqa questions.jsonl -o answered.jsonl --columns image=photo
    """
    from braid.api import load
    from braid.datasets.table import check_name, parse_columns, read_table, table_examples, write_table
    from braid.records import Example
    from braid.tasks import confident

    loaded = load(model)
    kinds = sorted(loaded.bundle.interface.tasks)
    if not task and len(kinds) > 1:
        raise UserError(f"this model does {', '.join(kinds)}; choose one with --task")
    chosen = loaded.task(task or kinds[0], beam)
    if min_confidence:
        confident(chosen, "--min-confidence")
    check_name(output)
    ready(output)
    given = read_table(table)
    rows = table_examples(given, parse_columns(columns), chosen.target_fields)
    examples = {number: row for number, row in enumerate(rows) if isinstance(row, Example)}
    numbered = [Example(str(number), row.fields, row.split, row.source) for number, row in examples.items()]
    answers = loaded.predict(
        chosen.kind, numbered, beam, batch_size, strict, lambda batches, total: progress(batches, "predicting", total)
    )
    reasons = {number: f"{row.source}: {row.reason}" for number, row in enumerate(rows) if not isinstance(row, Example)}
    if strict and reasons:
        raise UserError(reasons[min(reasons)])
    reasons |= {int(sample.id): reason for sample, reason in answers.skipped}
    result = {int(prediction.id): prediction for prediction in answers.predictions}
    write_table(_joined(given, _with_pictures(result, output), reasons, min_confidence), output)
    if json:
        print_json({"output": str(output), "num_samples": len(result), "num_broken": len(reasons)})
    else:
        note(f"{len(result)} rows predicted, {len(reasons)} could not be read: {output}")
    for unseen in loaded.unseen(chosen, answers.samples):
        note(unseen)
    without = SkippedRows(note)
    without.add((rows[number].source, reasons[number]) for number in sorted(reasons))
    if reasons:
        raise typer.Exit(1)


def _with_pictures(result: dict[int, "Prediction"], output: Path) -> dict[int, "Prediction"]:
    """Write what was drawn, a picture a row; its path, from the output's folder, stands for it."""
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
