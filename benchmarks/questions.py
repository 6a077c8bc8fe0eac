"""Questions about photos: does a model use the photo, or does it guess from the question?

    python benchmarks/questions.py --split runs/daquar.jsonl     only write the split of the indoor photos, for the recipe
    python benchmarks/questions.py recipes/small/4-everyday.yaml

Questions about held-out photos: of people about indoor photos (DAQUAR), of people and of rules about everyday photos (COCO-QA and
VQA v2), and those that ``recipes/small/ask_captions.py`` makes of captions of Flickr8k's val, in English and in Chinese. DAQUAR's
validation photos are contiguous blocks of 25 numbers, every fifth block, because neighbours are frames of one room and a split by
photo would leak. The control is the recipe without images and other tasks.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braid.api import load
from braid.comparison.config import alone
from braid.config import parse_yaml, to_dict
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import shipped, write_whole
from braid.metrics import interval
from braid.records import Example
from braid.training import run_from
from runs import report, trained

DATA = Path("../shared/data/daquar/qa.jsonl")
MADE = Path("runs/questions.jsonl")
BLOCK, BLOCKS, VALIDATION = 25, 5, 2
KINDS = ("yes-no", "number", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", type=Path, default=Path("runs/daquar.jsonl"), help="where to write the table with its split")
    parser.add_argument("--model", default="small")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of the control; about two minutes each")
    parser.add_argument("--output", type=Path, default=Path("runs/questions"))
    chosen = parser.parse_args()
    split(chosen.data, chosen.split)
    if chosen.recipe is None:
        return
    recipe = parse_yaml(shipped(chosen.recipe).read_text(encoding="utf-8"))
    control = trained(question_only(recipe, chosen.epochs), chosen.output / "question-only").folder / "last"
    models = {"image + question": chosen.model, "question only": str(control)}
    tables = {"indoor photos (DAQUAR)": list(open_dataset(chosen.split).split("val")), **held_out(MADE)}
    rows = [
        [f"{kind}, {len(examples):,}", name, *scored(model, examples)]
        for kind, examples in tables.items()
        for name, model in models.items()
    ]
    how = (
        "Accuracy (exact match of the whole answer) x100, seed 0, intervals (95%) from 1,000 bootstrap samples of questions. "
        "DAQUAR: the validation blocks of its official training photos; for scale, on its official test photos: Ask Your Neurons "
        "19.4, Stacked Attention Networks 29.3, people 50.2."
    )
    report("questions", "Questions about photos", ["questions", "inputs", "accuracy (95%)", *KINDS], rows, how)


def split(source: Path, path: Path) -> None:
    """Write the table with absolute image paths, and rows in train or val by the number of the photo."""
    lines = []
    for line in source.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        number = int(re.findall(r"\d+", row["image"])[-1])
        row["split"] = "val" if number // BLOCK % BLOCKS == VALIDATION else "train"
        row["image"] = str((source.parent / row["image"]).resolve())
        lines.append(json.dumps(row) + "\n")
    write_whole(path, "".join(lines))


def held_out(table: Path) -> dict[str, list[Example]]:
    """The val rows of the recipe's table by where they are from."""
    rows = list(open_dataset(table).split("val"))
    coco = [row for row in rows if "coco" in str(row.fields["image"])]
    made = [row for row in rows if "coco" not in str(row.fields["image"])]
    return {
        "everyday photos (COCO-QA, VQA v2)": coco,
        "made from captions (Flickr8k)": [row for row in made if row.fields["question"].isascii()],
        "made from Chinese captions (Flickr8k-CN)": [row for row in made if not row.fields["question"].isascii()],
    }


def question_only(recipe: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The question task of the recipe, without images and without its other tasks, from nothing."""
    (vqa,) = (mixed for mixed in run_from(recipe).mixture if mixed.task.kind == "vqa")
    task = {"task": to_dict(vqa.task), "data": to_dict(vqa.data), "objective": to_dict(vqa.objective), "tasks": []}
    own = ("text", vqa.task.decoder)  # the text decoder has the vectors of words
    model = {**recipe["model"], "decoders": {name: part for name, part in recipe["model"]["decoders"].items() if name in own}}
    outputs = {name: part for name, part in recipe["outputs"].items() if name in own}
    whole = {**recipe, **task, "model": model, "outputs": outputs, "initialize": {}}
    run = run_from({**whole, "batch_size": vqa.batch_size, "epochs": epochs})
    return to_dict(alone(run, "prompt"))


def scored(model: str, examples: Sequence[Example]) -> list[Any]:
    loaded = load(model)
    task = loaded.task("vqa")
    metrics, answers = evaluate(loaded.runtime, loaded.collator, task, examples)
    low, high = interval(task.items(answers.predictions, answers.samples)[:, None] / 100, lambda means: means[:, 0])
    accuracy = f"{metrics['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    return [accuracy, *(metrics.get(f"accuracy/{kind}", "") for kind in KINDS)]


if __name__ == "__main__":
    main()
