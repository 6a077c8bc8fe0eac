"""Do text and photo together predict the sentiment of a post better than either alone? Cross-validation on five folds of MVSA.

    python benchmarks/sentiment_in_folds.py recipes/sentiment.yaml      about 50 minutes of one core

The models of a fold are trained on the other four folds with the recipe, for a fixed number of epochs, so that test rows select
nothing. Posts that differ only in names and links stay in one fold. Metrics are over all pairs, each predicted by models that
were not trained on it; intervals (95%) are from a paired bootstrap over pairs.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from braid.api import load
from braid.comparison.config import alone
from braid.config import parse_yaml, to_dict
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import shipped, write_whole
from braid.metrics import accuracy, interval, macro_f1, paired_difference
from braid.training import run_from
from runs import report, trained

FOLDS = 5
CONTROLS = {"photo alone": "image", "words alone": "prompt"}
METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"accuracy": accuracy, "macro-f1": macro_f1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/sentiment_in_folds"))
    chosen = parser.parse_args()
    recipe = parse_yaml(shipped(chosen.recipe).read_text(encoding="utf-8"))
    tables = [folded(Path(recipe["data"]["path"]), fold, chosen.output) for fold in range(FOLDS)]
    outcomes: dict[str, list[np.ndarray]] = {}
    for fold, table in enumerate(tables):
        for name in ("both", *CONTROLS):
            run = trained(settings(recipe, name, table, chosen.epochs), chosen.output / f"{name.replace(' ', '-')}-{fold}")
            outcomes.setdefault(name, []).append(answered(run.folder, table))
    write(outcomes, chosen.epochs)


def folded(source: Path, fold: int, output: Path) -> Path:
    """Write the table with every row in train or test; equal posts are in the same split."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    posts = {post: number for number, post in enumerate(dict.fromkeys(map(_post, rows)))}
    order = np.random.default_rng(0).permutation(len(posts))
    for row in rows:
        row |= {
            "image": str((source.parent / row["image"]).resolve()),
            "split": "test" if order[posts[_post(row)]] % FOLDS == fold else "train",
        }
    path = output / f"fold-{fold}.jsonl"
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def _post(row: dict[str, Any]) -> str:
    bare: str = re.sub(r"https?:\S*|@\w+|\W", "", row["text"].lower().removeprefix("rt "))
    return bare or row["image"]


def settings(recipe: dict[str, Any], name: str, table: Path, epochs: int) -> dict[str, Any]:
    """The recipe on a fold. Val selects nothing, so a few rows are enough."""
    data = {"path": str(table), "val": "test", "limit_val": 50}
    run = run_from({**recipe, "data": data, "epochs": epochs, "half": False})
    return to_dict(alone(run, CONTROLS[name]) if name in CONTROLS else run)


def answered(folder: Path, table: Path) -> np.ndarray:
    """The counts of each test row with the last model of a run, from which the metrics are computed."""
    model = load(folder / "last")
    task = model.task("classification")
    _, answers = evaluate(model.runtime, model.collator, task, open_dataset(table).split("test"))
    return np.asarray(task.by_label(answers.predictions, answers.samples)[1].counts)


def write(outcomes: dict[str, list[np.ndarray]], epochs: int) -> None:
    whole = {name: np.concatenate(folds) for name, folds in outcomes.items()}
    columns = ["inputs", *METRICS, *(f"both leads by ({name})" for name in METRICS)]
    rows = []
    for name, result in whole.items():
        cells = [
            _with_interval(100 * metric(result.mean(0, keepdims=True))[0], *interval(result, metric))
            for metric in METRICS.values()
        ]
        if name != "both":
            leads = [paired_difference(whole["both"], result, metric) for metric in METRICS.values()]
            cells += [_with_interval(100 * lead.difference, lead.low, lead.high, "+") for lead in leads]
        rows.append([name, *cells, *[""] * (len(columns) - 1 - len(cells))])
    how = f"MVSA, the {len(whole['both']):,} pairs at hand in five folds; {epochs} epochs, the last model, seed 0; x100."
    report("sentiment_in_folds", "Sentiment in five folds", columns, rows, how)


def _with_interval(metric: float, low: float, high: float, sign: str = "") -> str:
    return f"{metric:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


if __name__ == "__main__":
    main()
