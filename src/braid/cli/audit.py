"""braid audit: does a model use each of its inputs?"""

from dataclasses import asdict

from braid.cli.console import note, print_json, print_table, watched
from braid.cli.given import choose_task, open_rows
from braid.cli.options import (
    BatchOption,
    ColumnsOption,
    DataOption,
    JsonOption,
    LimitOption,
    ModelArgument,
    SeedOption,
    SplitOption,
    TaskOption,
)


def audit(
    model: ModelArgument,
    data: DataOption,
    task: TaskOption = "",
    split: SplitOption = "val",
    columns: ColumnsOption = "",
    limit: LimitOption = 500,
    batch_size: BatchOption = 32,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Score a model with each input removed, shuffled, corrupted; report each input's contribution.

    Examples:

        braid audit sentiment --data posts.csv

        braid audit runs/vqa --data questions.jsonl --split test --json
    """
    from braid.api import load
    from braid.explain import audit as examine

    loaded = load(model)
    chosen = loaded.task(choose_task(loaded, task))
    examples = open_rows(loaded, data, columns).split(split)[: limit or None]
    result = examine(loaded.runtime, loaded.collator, chosen, examples, batch_size, seed, watched("auditing"))
    if json:
        print_json({**asdict(result), "ignored": result.ignored, "verdict": result.verdict})
        return
    rows = [
        [
            one.input,
            *(f"{figure:.1f}" for figure in (one.figure_removed, one.figure_shuffled, one.figure_damaged)),
            f"{one.value:+.1f}",
            f"{100 * one.share:.0f}%",
        ]
        for one in result.inputs
    ]
    metrics = f"{result.figure:.1f}, and {result.figure_nothing:.1f} without any input"
    title = f"{result.metric} on {result.num_samples} rows of {split}: {metrics}"
    names = ["input", "removed", "shuffled", "corrupted", "Shapley value", "moves answers"]
    print_table(title, names, rows, names[1:])
    note(f"\n{model} {result.verdict}")
