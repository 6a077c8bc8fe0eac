"""braid audit: does a model use each of its inputs?"""

from dataclasses import asdict
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.errors import UserError


def audit(
    model: Annotated[str, typer.Argument(help="A built-in name, a model's folder or a run's folder.")],
    data: Annotated[str, typer.Option(help="A file or folder of any supported format.")],
    task: Annotated[str, typer.Option(help="Default: the model's only task.")] = "",
    split: Annotated[str, typer.Option(help="The split to look at; all takes every row.")] = "val",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,question=text")] = "",
    limit: Annotated[int, typer.Option(min=0, help="The first rows only; 0 takes all.")] = 500,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered at once.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the shuffling and the corruption.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Evaluate a model with each input removed, shuffled and corrupted, and report what each input contributes.

    Examples:

        braid audit sentiment --data posts.csv

        braid audit runs/vqa --data questions.jsonl --split test --json
    """
    from braid.api import load
    from braid.datasets import open_dataset
    from braid.datasets.table import parse_columns
    from braid.explain import audit as examine

    loaded = load(model)
    kinds = sorted(loaded.bundle.interface.tasks)
    if not task and len(kinds) > 1:
        raise UserError(f"this model does {', '.join(kinds)}; choose one with --task")
    chosen = loaded.task(task or kinds[0])
    examples = open_dataset(data, parse_columns(columns)).split(split)[: limit or None]
    result = examine(
        loaded.runtime, loaded.collator, chosen, examples, batch_size, seed, lambda jobs, n: progress(jobs, "auditing", n)
    )
    if json:
        print_json({**asdict(result), "ignored": result.ignored, "verdict": result.verdict})
        return
    rows = [
        [
            one.input,
            *(f"{value:.1f}" for value in (one.metric_removed, one.metric_shuffled, one.metric_corrupted)),
            f"{one.shapley:+.1f}",
            f"{100 * one.share:.0f}%",
        ]
        for one in result.inputs
    ]
    metrics = f"{result.metric_all_inputs:.1f}, and {result.metric_no_inputs:.1f} without inputs"
    title = f"{result.metric} on {result.num_samples} rows of {split}: {metrics}"
    names = ["input", "removed", "shuffled", "corrupted", "Shapley value", "share of effect"]
    print_table(title, names, rows, names[1:])
    note(f"\n{model} {result.verdict}")
