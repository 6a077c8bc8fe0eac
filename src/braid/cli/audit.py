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
    """Evaluate a model with each input removed, shuffled and corrupted, and report what each input contributes.

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
