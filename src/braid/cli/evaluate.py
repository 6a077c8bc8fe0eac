"""braid evaluate: predict a split and score it."""

import json as json_files
from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.datasets.table import parse_columns
from braid.errors import UserError


def evaluate(
    data: Annotated[str, typer.Option(help="A file or folder of any supported format.")],
    task: Annotated[str, typer.Option(help="captioning, vqa or language_modelling.")] = "captioning",
    split: Annotated[str, typer.Option(help="The split to score; all takes every row.")] = "val",
    model: Annotated[str, typer.Option("--model", "-m", help="A built-in name, a folder, or hf:NAME_OR_FOLDER.")] = "small",
    beam: Annotated[int | None, typer.Option(min=1, help="Beams; 1 is greedy. Default: the model's own.")] = None,
    tokenizer: Annotated[str, typer.Option(help="Of the metrics: ptb, characters or none.")] = "ptb",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,captions=text")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Score the first rows only; 0 takes all.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered at once.")] = 32,
    save_predictions: Annotated[Path | None, typer.Option(help="Write {id: text} here, as `braid score` reads it.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into the model's data card.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be read.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, metric names as keys.")] = False,
) -> None:
    """Score a model on a data set with the official metrics (x100).

    Examples:

        braid evaluate --task captioning --data photos/captions.jsonl --split val --beam 3

        braid evaluate --task vqa --data questions.jsonl --split test --model runs/vqa --json
    """
    from braid.api import load
    from braid.bundle import write_scores
    from braid.datasets import open_dataset
    from braid.evaluation import evaluate as score

    loaded = load(model)
    if record and not (loaded.bundle.folder / "interface.json").is_file():
        raise UserError(f"{loaded.bundle.folder} has no interface.json to record figures in; leave out --record")
    chosen = loaded.task(task, beam)
    dataset = open_dataset(data, parse_columns(columns))
    if strict and dataset.broken:
        raise UserError(f"{dataset.broken[0].source}: {dataset.broken[0].reason}")
    examples = dataset.split(split)[: limit or None]
    figures, answers = score(
        loaded.runtime,
        loaded.collator,
        chosen,
        examples,
        tokenizer,
        batch_size,
        strict,
        lambda batches, total: progress(batches, "evaluating", total),
    )
    left_out = [f"{row.source}: {row.reason}" for row in dataset.broken] + [reason for _, reason in answers.broken]
    for reason in left_out[:5]:
        note(f"left out: {reason}")
    if save_predictions is not None:
        texts = {prediction.id: prediction.text for prediction in answers.predictions}
        save_predictions.write_text(json_files.dumps(texts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    method = chosen.generation.method + (f" {chosen.generation.beam}" if chosen.generation.method == "beam" else "")
    if record:
        measured = f"{Path(data).name} {split}, {len(answers.predictions)} rows, {method}, tokenizer {tokenizer}"
        write_scores(loaded.bundle, {name: value for name, value in figures.items() if name != "num_samples"}, measured)
    if json:
        print_json({**figures, "num_samples": int(figures["num_samples"])})
        return
    title = f"{task} on {data}, split {split}: {len(answers.predictions)} rows, {method}, tokenizer {tokenizer}"
    rows = [[name, f"{value:.2f}"] for name, value in figures.items() if name != "num_samples"]
    print_table(title, ["metric", "x100" if task != "language_modelling" else "value"], rows, ["x100", "value"])
