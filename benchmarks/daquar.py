"""Questions about indoor photos (DAQUAR): does a model look, or does it guess from the question?

    python benchmarks/daquar.py --split runs/daquar.jsonl                           the split alone, which the recipe trains on
    python benchmarks/daquar.py recipes/small/4-tasks.yaml --model runs/small-tasks

The photos of the validation split are contiguous blocks of 25 photo numbers, every fifth block: neighbours are frames of one
room, so a split by photo alone would leak. The control has the recipe's text encoder and answers and no picture.
``accuracy`` is the exact match of all of a row's answers, ``vqa-accuracy`` the official one.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from braid.api import load
from braid.comparison.config import alone
from braid.config import parse_yaml, to_dict
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import write_whole
from braid.metrics import interval
from braid.training import run_from
from runs import report, trained

DATA = Path("../shared/data/daquar/qa.jsonl")
BLOCK, BLOCKS, VALIDATION = 25, 5, 2
FIGURES = ("accuracy", "vqa-accuracy", "accuracy/number", "accuracy/other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", type=Path, default=Path("runs/daquar.jsonl"), help="where to write the table with its split")
    parser.add_argument("--model", default="runs/small-tasks")
    parser.add_argument("--epochs", type=int, default=10, help="of the control")
    parser.add_argument("--output", type=Path, default=Path("runs/daquar"))
    chosen = parser.parse_args()
    split(chosen.data, chosen.split)
    if chosen.recipe is None:
        return
    recipe = parse_yaml(chosen.recipe.read_text(encoding="utf-8"))
    control = trained(question_only(recipe, chosen.split, chosen.epochs), chosen.output / "question-only").folder / "last"
    models = {"picture + question": chosen.model, "question only": str(control)}
    rows = [[name, *scored(model, chosen.split)] for name, model in models.items()]
    how = (
        f"DAQUAR's official training photos; {len(open_dataset(chosen.split).split('val')):,} questions about the "
        "validation blocks' photos, seed 0, intervals (95%) from 1,000 bootstrap samples of questions; x100. For scale, on the "
        "official test photos: Ask Your Neurons 19.4, Stacked Attention Networks 29.3, people 50.2."
    )
    report("daquar", "Questions about indoor photos", ["inputs", "accuracy (95%)", *FIGURES[1:]], rows, how)


def split(source: Path, path: Path) -> None:
    """The table with absolute picture paths, its rows in train or val by the photo's number."""
    lines = []
    for line in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        number = int(re.findall(r"\d+", row["image"])[-1])
        row["split"] = "val" if number // BLOCK % BLOCKS == VALIDATION else "train"
        row["image"] = str((source.parent / row["image"]).resolve())
        lines.append(json.dumps(row) + "\n")
    write_whole(path, "".join(lines))


def question_only(recipe: dict[str, Any], table: Path, epochs: int) -> dict[str, Any]:
    """The recipe's answers without its pictures, and without its other tasks."""
    (asked,) = (mixed for mixed in run_from(recipe).mixture if mixed.task.kind == "vqa")
    task = {
        "task": to_dict(asked.task),
        "data": {"path": str(table)},
        "objective": to_dict(asked.objective),
        "tasks": [],
    }
    run = run_from({**recipe, **task, "batch_size": asked.batch_size, "epochs": epochs})
    return to_dict(alone(run, "prompt"))


def scored(model: str, table: Path) -> list[Any]:
    loaded = load(model)
    task = loaded.task("vqa")
    figures, answers = evaluate(loaded.runtime, loaded.collator, task, open_dataset(table).split("val"))
    low, high = interval(task.items(answers.predictions, answers.samples)[:, None] / 100, lambda means: means[:, 0])
    told = f"{figures['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    return [told, *(figures[name] for name in FIGURES[1:])]


if __name__ == "__main__":
    main()
