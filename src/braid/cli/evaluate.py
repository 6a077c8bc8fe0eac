"""braid evaluate: predict a split and score it."""

import json as json_files
from collections.abc import Sequence
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
from braid.files import ready, write_whole
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.evaluation import Answers
    from braid.records import Example
    from braid.tasks import Task


def evaluate(
    data: Annotated[str, typer.Option(help="A file or folder of any supported format.")],
    task: Annotated[str, typer.Option(help="captioning, vqa, classification, retrieval, ...")] = "captioning",
    split: Annotated[str, typer.Option(help="The split to score; all takes every row.")] = "val",
    model: Annotated[str, typer.Option("--model", "-m", help="A built-in name, a folder, or hf:NAME_OR_FOLDER.")] = "small",
    beam: Annotated[int | None, typer.Option(min=1, help="Beams; 1 is greedy. Default: the model's own.")] = None,
    tokenizer: Annotated[str, typer.Option(help="Of the metrics: ptb, characters or none.")] = "ptb",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,captions=text")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Score the first rows only; 0 takes all.")] = 0,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered at once.")] = 32,
    save_predictions: Annotated[Path | None, typer.Option(help="Write {id: text} here, as `braid score` reads it.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here: figures, confidence, which labels are mistaken.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into the model's data card.")] = False,
    extractor: Annotated[str, typer.Option(help="A model that embeds pictures: how like drawn ones are to real ones.")] = "",
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, metric names as keys.")] = False,
) -> None:
    """Score a model on a data set with the official metrics (x100).

    With --min-confidence, the figures are those of the rows that are answered, and coverage is their share.

    Examples:

        braid evaluate --task captioning --data photos/captions.jsonl --split val --beam 3

        braid evaluate --task vqa --data questions.jsonl --split test --model runs/vqa --json

        braid evaluate --task classification --data posts.csv --model runs/sentiment --html posts.html --min-confidence 0.6

        braid evaluate --task image_generation --data photos.csv --model runs/drawer --extractor runs/finder
    """
    from braid.api import load
    from braid.bundle import write_scores
    from braid.datasets import open_dataset
    from braid.datasets.table import parse_columns
    from braid.evaluation import evaluate as score
    from braid.metrics import caption_diversity
    from braid.reports import Evaluated, shown_rows, write_evaluated

    loaded = load(model)
    embedder = load(extractor) if extractor else None
    if record and not (loaded.bundle.folder / "interface.json").is_file():
        raise UserError(f"{loaded.bundle.folder} has no interface.json to record figures in; leave out --record")
    chosen = loaded.task(task, beam)
    dataset = open_dataset(data, parse_columns(columns))
    if strict and dataset.skipped:
        raise UserError(f"{dataset.skipped[0].source}: {dataset.skipped[0].reason}")
    examples = dataset.split(split)[: limit or None]
    if save_predictions is not None:
        _distinct(examples)
        ready(save_predictions)
    for path in (skipped_rows, html):
        if path is not None:
            ready(path)
    figures, answers = score(
        loaded.runtime,
        loaded.collator,
        chosen,
        examples,
        tokenizer,
        batch_size,
        strict,
        lambda batches, total: progress(batches, "evaluating", total),
        min_confidence,
    )
    if embedder:
        figures |= embedder.fidelity(answers, lambda batches, total: progress(batches, "comparing", total))
    without = SkippedRows(note)
    without.add((row.source, row.reason) for row in dataset.skipped)
    without.add((sample.source, reason) for sample, reason in answers.skipped)
    finish(without, skipped_rows)
    for unseen in loaded.unseen(chosen, answers.samples):
        note(unseen)
    texts = [said(prediction, min_confidence) for prediction in answers.predictions]
    if save_predictions is not None:
        named = {prediction.id: text for prediction, text in zip(answers.predictions, texts, strict=True)}
        write_whole(save_predictions, json_files.dumps(named, ensure_ascii=False, indent=1) + "\n")
    method = _method(chosen, min_confidence)
    if record:
        measured = f"{Path(data).name} {split}, {len(answers.predictions)} rows, {method}, tokenizer {tokenizer}"
        write_scores(loaded.bundle, {name: value for name, value in figures.items() if name != "num_samples"}, measured)
    if task == "captioning":
        trained_on = (e for e in dataset.examples if e.split == "train" and split not in ("train", "all"))
        known = (text for example in trained_on for text in example.fields.get("captions", ()))
        figures |= caption_diversity([text for text in texts if text is not None], known, tokenizer)
    if html is not None:
        result = Evaluated(model, task, data, split, len(texts), min_confidence, chosen.main_metric, figures)
        rows = shown_rows(answers.samples, answers.predictions, loaded.collator.inputs)
        write_evaluated(replace(result, rows=rows, **_details(chosen, answers, tokenizer)), html)
    if json:
        print_json({**figures, "num_samples": int(figures["num_samples"])})
        return
    title = f"{task} on {data}, split {split}: {len(answers.predictions)} rows, {method}, tokenizer {tokenizer}"
    cells = [[name, f"{value:.2f}"] for name, value in figures.items() if name != "num_samples"]
    print_table(title, ["metric", chosen.unit], cells, ["x100", "value"])


def _method(task: "Task", least: float = 0.0) -> str:
    sure = f", answered from a confidence of {least:g}" if least else ""
    return task.method + sure


def _details(task: "Task", answers: "Answers", tokenizer: str) -> dict[str, Any]:
    """What a page shows of a task besides its figures: of all rows, whatever is answered."""
    return {"method": task.method, **task.report(answers.predictions, answers.samples, tokenizer)}


def _distinct(examples: Sequence["Example"]) -> None:
    """{id: text} has room for one text an id."""
    first: dict[str, str] = {}
    for example in examples:
        if example.id in first:
            raise UserError(
                f"{first[example.id]} and {example.source} both have the id {example.id!r}, and --save-predictions "
                "writes one text an id; give each row its own, or name another column with --columns id=NAME"
            )
        first[example.id] = example.source
