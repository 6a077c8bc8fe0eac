"""Faithfulness of explanations: every method graded on scenes, where the object of each word is known.

braid train recipes/explain-scenes.yaml --output runs/explain-scenes
python benchmarks/explanations.py --model runs/explain-scenes            about 15 minutes on a core
python benchmarks/explanations.py --model runs/explain-scenes --tasks vqa --methods attention,gradients
"""

import argparse
from pathlib import Path

import braid
from braid.datasets import open_dataset
from braid.explain.ranking import Ranking
from braid.files import write_whole

DATA = {
    "captioning": "scenes:captioning,train=1,val=40,test=1,compositional=1,size=64,objects=2",
    "vqa": "scenes:vqa,train=1,val=120,test=1,compositional=1,size=64,objects=2",
}
RESULTS = Path(__file__).with_name("results") / "explanations.md"
COLUMNS = ("task", "method", "pointing", "deletion", "insertion", "sensitivity", "seconds a row")


def table(task: str, result: Ranking) -> list[str]:
    """The rows of one task, the best method first."""
    return [
        f"| {task} | {one.method} | {one.pointing:.1f} ± {one.pointing_error:.1f} | {one.deletion:.3f} | {one.insertion:.3f} | "
        f"{one.sensitivity:.2f} | {one.seconds:.2f} |"
        for one in result.grades
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--methods", default="", help="comma-separated; default: all")
    parser.add_argument("--tasks", nargs="+", default=list(DATA), choices=list(DATA))
    chosen = parser.parse_args()
    loaded = braid.load(chosen.model)
    methods = [name for name in chosen.methods.split(",") if name]
    rows, counted = [], []
    for task in chosen.tasks:
        examples = open_dataset(DATA[task]).split("val")
        result = loaded.rank_explanations(examples, task, methods)
        rows += table(task, result)
        counted.append(f"{task}: {result.num_words} words of {result.num_rows} rows")
        print("\n".join(table(task, result)), flush=True)
    how = (
        f"Scenes of 64 x 64 pixels with one or two objects, the val split, model `{Path(chosen.model).name}` "
        f"(`recipes/explain-scenes.yaml`). Graded: {'; '.join(counted)}: the correct colours, shapes and textures of a "
        "caption, and correct answers about one object. Pointing: the share whose hottest patch (8 x 8 pixels) touches the "
        "object, ± its standard error. Seconds are for one core of a busy machine."
    )
    head = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines = ["# Explanations on scenes", "", how, "", "Command: `python benchmarks/explanations.py --model runs/explain-scenes`"]
    write_whole(RESULTS, "\n".join([*lines, "", *head, *rows]) + "\n")


if __name__ == "__main__":
    main()
