"""Questions about order in scenes that sound or move, and whether explanations point at the moment that the answer depends on.

    python benchmarks/questions_in_time.py audio            about 40 minutes of a core
    python benchmarks/questions_in_time.py video

The model is that of the recipe. The control is trained alike, without the sound, or on one frame. Accuracy is that of 2,000
questions of the split test; the best epoch was chosen on val. Explanations are those of answers that are right (split val).
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
from braid.training import read_run
from runs import answered, lead, report, say, shown, trained

RECIPES = Path(__file__).parents[1] / "src" / "braid" / "recipes"
RECIPE = {"audio": "order-of-sounds.yaml", "video": "motion/2-motion.yaml"}
CONTROL = {"audio": "no sound", "video": "one frame"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(RECIPE))
    parser.add_argument("--explained", type=int, default=200, help="rows of which explanations are graded")
    parser.add_argument("--output", type=Path, default=Path("runs/order"))
    chosen = parser.parse_args()
    settings = to_dict(read_run(RECIPES / RECIPE[chosen.what]))
    systems = {chosen.what: settings, CONTROL[chosen.what]: without(settings, chosen.what)}
    said, by_kind = {}, {}
    for name, config in systems.items():
        run = trained(config, chosen.output / name.replace(" ", "-"))
        said[name] = answered(run.folder, "vqa", settings["data"]["path"], {}, "test")
        by_kind[name] = kinds(said[name])
        say(f"{name}: {shown(said[name].right)}")
    control = said[CONTROL[chosen.what]].right
    rows: list[list[Any]] = [["all", shown(said[name].right), lead(said[name].right, control)] for name in systems]
    rows[0][0], rows[1][0] = systems
    rows[1][2] = ""
    rows += [
        [f"{chosen.what}: {kind}", shown(right), lead(right, by_kind[CONTROL[chosen.what]][kind])]
        for kind, right in by_kind[chosen.what].items()
    ]
    rows += pointing(chosen.output / chosen.what, settings["data"]["path"], chosen.explained)
    how = (
        f"Accuracy on {len(control):,} questions of test, x100, with 95% bootstrap intervals, seed 0; leads are paired. "
        f"Pointing in time: the share of right answers whose hottest moment lies in the one that the answer depends on, "
        f"{chosen.explained} rows of val, ± its standard error."
    )
    report(f"questions_in_time_{chosen.what}", "Questions about order", ["system", "right", "lead"], rows, how)


def without(settings: dict[str, Any], what: str) -> dict[str, Any]:
    """The settings of the control."""
    other = copy.deepcopy(settings)
    if what == "video":
        other["inputs"]["video"]["frames"] = 1
        return other
    del other["model"]["encoders"]["audio"], other["inputs"]["audio"]
    other["model"]["fusion"] = {"kind": "concat"}
    return other


def kinds(said: Any) -> dict[str, np.ndarray]:
    """The rows by kind of question, as scenes name it in their source."""
    result = defaultdict(list)
    for sample, right in zip(said.samples, said.right, strict=True):
        result[sample.source.split()[-2]].append(right)
    return {kind: np.array(result[kind]) for kind in sorted(result)}


def pointing(model: Path, data: str, number: int) -> list[list[str]]:
    ranking = braid.load(model).rank_explanations(open_dataset(data).split("val")[:number], "vqa")
    return [
        [f"pointing in time: {one.method}", f"{one.pointing:.1f} ± {one.pointing_error:.1f}", ""]
        for one in ranking.grades
        if one.pointing is not None
    ]


if __name__ == "__main__":
    main()
