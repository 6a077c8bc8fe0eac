"""A model of three inputs, one of which is not there: is it as good as a model that never had it?

    python benchmarks/one_taken_away.py ../shared/data/products/products.csv            about 20 minutes of two cores

Products have a photo, a title and a row of a table. One model is trained on all three, with what `braid train` does for three
inputs: whole inputs are dropped in training, and each has a loss of its own. Three others lack one input from the beginning. All
answer the same rows of val, by which nothing was chosen but the epoch.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.api import load
from braid.datasets import open_dataset
from braid.evaluation import only, predict
from runs import answered, lead, report, say, shown, trained_by_default

ROOT = Path("runs/one_taken_away")
QUESTIONS: dict[str, dict[str, str]] = {
    "kind (18)": {"image": "image", "text": "title", "tabular": "season+gender+baseColour", "label": "subCategory"},
    "colour (12)": {"image": "image", "text": "masked_title", "tabular": "season+gender+subCategory", "label": "baseColour"},
}
NAMES = {"image": "photo", "text": "title", "tabular": "row"}
INPUTS = {"image": "image", "text": "prompt", "tabular": "tabular"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--time", default="", help="of each training, such as 5m")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    os.environ.setdefault("BRAID_CACHE", str(ROOT / "cache"))
    rows = [row for name, columns in QUESTIONS.items() for row in compared(name, columns, chosen)]
    how = (
        f"326 rows of val, x100, with 95% bootstrap intervals over rows; means of {chosen.seeds} seeds; time: "
        f"{chosen.time or 'the default'}. The last column is the paired difference of the two models on the same rows."
    )
    title = "Three inputs, one taken away"
    report("one_taken_away", title, ["question", "not there", "trained on all", "trained without it", "difference"], rows, how)


def compared(name: str, columns: Mapping[str, str], chosen: argparse.Namespace) -> list[list[Any]]:
    """A row for all inputs, and one for each input that is taken away."""
    whole = {role: over_seeds(name, columns, (), role, chosen) for role in ("", *NAMES)}
    rows = [[name, "nothing", shown(whole[""]), "", ""]]
    for role, what in NAMES.items():
        alone = over_seeds(name, columns, (role,), "", chosen)
        rows.append([name, what, shown(whole[role]), shown(alone), lead(whole[role], alone)])
        say(str(rows[-1]))
    return rows


def over_seeds(
    name: str, columns: Mapping[str, str], without: Sequence[str], taken: str, chosen: argparse.Namespace
) -> np.ndarray:
    """How right each row is, x100: of a model that was trained ``without`` some inputs, when another is ``taken`` away in use."""
    kept = {role: "" if role in without else column for role, column in columns.items()}  # "": no column has it
    runs = []
    for seed in range(chosen.seeds):
        folder = ROOT / "-".join(
            [name.split()[0], *(role for role, column in kept.items() if column), chosen.time or "default", str(seed)]
        )
        trained_by_default("classification", chosen.data, kept, folder, [f"seed={seed}"], chosen.time)
        runs.append(right(folder, chosen.data, kept, taken) if taken else answered(folder, *of_val(chosen.data, kept)).right)
    return np.mean(runs, axis=0)


def of_val(data: Path, columns: Mapping[str, str]) -> tuple[str, Path, Mapping[str, str], str]:
    return "classification", data, columns, "val"


def right(folder: Path, data: Path, columns: Mapping[str, str], taken: str) -> np.ndarray:
    """How right a model is, x100, when an input is taken away."""
    model = load(folder)
    task = model.task("classification")
    samples = [task.prepare(example) for example in open_dataset(data, dict(columns)).split("val")]
    left = [name for name in model.collator.inputs if name != INPUTS[taken]]
    answers = predict(model.runtime, model.collator, task, [only(sample, left) for sample in samples])
    return np.asarray(task.items(answers.predictions, answers.samples), float)


if __name__ == "__main__":
    main()
