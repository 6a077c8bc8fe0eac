"""Questions about the order of sounds, and whether explanations point at the moment that the answer depends on.

    python benchmarks/questions_in_time.py            about 40 minutes of a core

The model is that of the recipe; the control is trained alike, without the sound. Accuracy is that of 2,000 questions of the split
test; the best epoch was chosen on val. Explanations are those of answers that are right (split val).
"""

import argparse
import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import braid
from braid.config import to_dict
from braid.datasets import open_dataset
from braid.explain.ranking import CHANCE
from braid.training import read_run
from runs import answered, lead, report, say, shown, trained

RECIPE = Path(__file__).parents[1] / "src" / "braid" / "recipes" / "order-of-sounds.yaml"
MODEL, CONTROL = "sound and question", "question alone"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explained", type=int, default=200, help="rows of which explanations are graded")
    parser.add_argument("--output", type=Path, default=Path("runs/order"))
    chosen = parser.parse_args()
    settings = to_dict(read_run(RECIPE))
    data = settings["data"]["path"]
    said = {}
    for name, config in {MODEL: settings, CONTROL: without_sound(settings)}.items():
        run = trained(config, chosen.output / name.replace(" ", "-"))
        said[name] = answered(run.folder, "vqa", data, {}, "test")
        say(f"{name}: {shown(said[name].right)}")
    right, floor = kinds(said[MODEL]), kinds(said[CONTROL])
    rows: list[list[Any]] = [["all", *compared(said[MODEL].right, said[CONTROL].right)]]
    rows += [[kind, *compared(right[kind], floor[kind])] for kind in right]
    rows += pointing(chosen.output / MODEL.replace(" ", "-"), data, chosen.explained)
    how = (
        f"Accuracy on {len(said[MODEL].right):,} questions of test, x100, 95% bootstrap intervals, seed 0; leads are paired. "
        f"Pointing in time: the share of right answers whose hottest moment lies in the one that the answer depends on, of "
        f"{chosen.explained} rows of val, ± its standard error; in the column after it, that of random scores."
    )
    report("questions_in_time", "Questions about the order of sounds", ["questions", MODEL, CONTROL, "lead"], rows, how)


def without_sound(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the control."""
    other = copy.deepcopy(settings)
    del other["model"]["encoders"]["audio"], other["inputs"]["audio"]
    other["model"]["fusion"] = {"kind": "concat"}
    return other


def compared(right: np.ndarray, floor: np.ndarray) -> tuple[str, str, str]:
    return shown(right), shown(floor), lead(right, floor)


def kinds(said: Any) -> dict[str, np.ndarray]:
    """The rows by kind of question, as scenes name it in their source."""
    result = defaultdict(list)
    for sample, right in zip(said.samples, said.right, strict=True):
        result[sample.source.split()[-2]].append(right)
    return {kind: np.array(result[kind]) for kind in sorted(result)}


def pointing(model: Path, data: str, number: int) -> list[list[str]]:
    grades = braid.load(model).rank_explanations(open_dataset(data).split("val")[:number], "vqa").grades
    found = {one.method: f"{one.pointing:.1f} ± {one.pointing_error:.1f}" for one in grades}
    chance = found.pop(CHANCE)
    return [[f"pointing in time: {method}", score, chance, ""] for method, score in found.items()]


if __name__ == "__main__":
    main()
