"""braid evaluate: predict a split and score it."""

import json as json_files
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import note, print_json, print_table, report_skipped, said, unread, watched
from braid.cli.given import open_rows
from braid.cli.options import (
    BatchOption,
    BeamOption,
    ColumnsOption,
    DataOption,
    JsonOption,
    LimitOption,
    MinConfidenceOption,
    ModelOption,
    SkippedRowsOption,
    SplitOption,
    StrictOption,
    TokenizerOption,
)
from braid.errors import UserError
from braid.files import ready, write_whole

if TYPE_CHECKING:
    from braid.api import LoadedModel
    from braid.records import Example


def evaluate(
    data: DataOption,
    task: Annotated[str, typer.Option(help="captioning, vqa, classification, retrieval, ...")] = "captioning",
    split: SplitOption = "val",
    model: ModelOption = "small",
    beam: BeamOption = None,
    tokenizer: TokenizerOption = "ptb",
    columns: ColumnsOption = "",
    limit: LimitOption = 0,
    min_confidence: MinConfidenceOption = 0.0,
    batch_size: BatchOption = 32,
    save_predictions: Annotated[Path | None, typer.Option(help="Write {id: text} here, as `braid score` reads it.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here: metrics, confidence, a confusion matrix.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the metrics into the model's data card.")] = False,
    extractor: Annotated[str, typer.Option(help="Embedding model for FID and KID of generated images.")] = "",
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Score a model on a data set with the official metrics (x100).

    With --min-confidence, metrics are those of the rows that the model answers; coverage is their share.

    Examples:

        braid evaluate --task captioning --data photos/captions.jsonl --split val --beam 3

        braid evaluate --task vqa --data questions.jsonl --split test --model runs/vqa --json

        braid evaluate --task classification --data posts.csv --model runs/sentiment --html posts.html --min-confidence 0.6

        braid evaluate --task image_generation --data photos.csv --model runs/generator --extractor runs/finder
    """
    from braid.api import load
    from braid.evaluation import evaluate as score
    from braid.evaluation import unseen
    from braid.reports import Evaluated, shown_rows, write_evaluated
    from braid.search import fidelity

    loaded = load(model)
    embedder = load(extractor) if extractor else None
    chosen = loaded.task(task, beam)
    if record:
        _check_recordable(loaded)
    dataset = open_rows(loaded, data, columns)
    if strict and dataset.skipped:
        raise UserError(f"{dataset.skipped[0].source}: {dataset.skipped[0].reason}")
    examples = dataset.split(split)[: limit or None]
    if save_predictions is not None:
        _check_distinct(examples)
    for path in (save_predictions, skipped_rows, html):
        if path is not None:
            ready(path)
    runtime, collator, interface = loaded.runtime, loaded.collator, loaded.bundle.interface
    metrics, answers = score(
        runtime, collator, chosen, examples, tokenizer, batch_size, strict, watched("evaluating"), min_confidence
    )
    if embedder:
        metrics |= fidelity(embedder.runtime, embedder.collator, chosen, answers, watched("comparing"))
    skipped = [(row.source, row.reason) for row in dataset.skipped] + unread(answers)
    report_skipped(skipped_rows, skipped, exits=False)
    for message in unseen(interface, chosen, answers.samples):
        note(message)
    texts = [said(prediction, min_confidence) for prediction in answers.predictions]
    if save_predictions is not None:
        named = {prediction.id: text for prediction, text in zip(answers.predictions, texts, strict=True)}
        write_whole(save_predictions, json_files.dumps(named, ensure_ascii=False, indent=1) + "\n")
    method = chosen.method + (f", answered from a confidence of {min_confidence:g}" if min_confidence else "")
    title = f"{len(answers.predictions)} rows, {method}, tokenizer {tokenizer}"
    if record:
        _record(loaded, metrics, f"{Path(data).name} {split}, {title}")
    training = [example for example in dataset.examples if example.split == "train" and split not in ("train", "all")]
    metrics |= chosen.variety([text for text in texts if text is not None], training, tokenizer)
    if html is not None:
        page = chosen.report(answers.predictions, answers.samples, tokenizer)
        rows = shown_rows(answers.samples, answers.predictions, loaded.collator.inputs)
        about = (model, task, data, split, len(texts), min_confidence, chosen.main_metric, metrics)
        write_evaluated(Evaluated(*about, method=chosen.method, rows=rows, **page), html)
    if json:
        print_json({**metrics, "num_samples": int(metrics["num_samples"])})
        return
    cells = [[name, f"{value:.2f}"] for name, value in metrics.items() if name != "num_samples"]
    print_table(f"{task} on {data}, split {split}: {title}", ["metric", chosen.unit], cells, ["x100", "value"])


def _check_recordable(loaded: "LoadedModel") -> None:
    if not (loaded.bundle.folder / "interface.json").is_file():
        raise UserError(f"{loaded.bundle.folder} has no interface.json to record metrics in; leave out --record")


def _record(loaded: "LoadedModel", metrics: dict[str, float], scored_on: str) -> None:
    from braid.bundle import write_scores

    write_scores(loaded.bundle, {name: value for name, value in metrics.items() if name != "num_samples"}, scored_on)


def _check_distinct(examples: Sequence["Example"]) -> None:
    """{id: text} has room for one text an id."""
    first: dict[str, str] = {}
    for example in examples:
        if example.id in first:
            raise UserError(
                f"{first[example.id]} and {example.source} both have the id {example.id!r}, and --save-predictions "
                "writes one text an id; give each row its own, or name another column with --columns id=NAME"
            )
        first[example.id] = example.source
