"""Do table columns help a model with photos and titles? Skin lesions and catalogue products, with subsets of the inputs.

    python benchmarks/tabular.py ham10000 ../shared/data/ham10000-mini/lesions.jsonl      about 15 minutes of one core
    python benchmarks/tabular.py products ../shared/data/products/products.csv           about 30 minutes of one core

Each subset is trained separately with the preset `small` and the frozen image encoder of the built-in model, for --epochs epochs;
the last model counts, so that val selects nothing. Metrics are means over seeds on val; intervals (95%) and differences are from
a paired bootstrap over rows. The baseline is gradient boosting (scikit-learn) on the same columns.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from braid.api import load
from braid.bundle import find_bundle, read_bundle
from braid.config import to_dict
from braid.datasets import Dataset, open_dataset
from braid.evaluation import evaluate
from braid.metrics import accuracy, interval, macro_f1, paired_difference
from braid.training import preset
from runs import report, trained

METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"accuracy": accuracy, "macro-f1": macro_f1}
BOOSTING = "gradient boosting, table"


@dataclass(frozen=True)
class Question:
    """A benchmark on one data set: columns by role, the numeric ones among them, and the subsets of inputs to train."""

    title: str
    columns: dict[str, str]
    numbers: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]


QUESTIONS = {
    "ham10000": Question(
        "Diagnoses of skin lesions (HAM10000, 7 classes)",
        {"image": "image", "tabular": "age+sex+localization", "label": "label"},
        ("age",),
        (("image", "tabular"), ("image",), ("tabular",)),
    ),
    "products": Question(
        "Colours of products (12 classes), titles without colour words",
        {"image": "image", "text": "masked_title", "tabular": "season+gender", "label": "baseColour"},
        (),
        (
            ("image", "text", "tabular"),
            ("image", "text"),
            ("image", "tabular"),
            ("text", "tabular"),
            ("image",),
            ("text",),
            ("tabular",),
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/tabular"))
    chosen = parser.parse_args()
    question = QUESTIONS[chosen.question]
    outcomes: dict[str, np.ndarray] = {}
    for subset in question.subsets:
        seeds = [one_run(question, subset, seed, chosen) for seed in range(chosen.seeds)]
        outcomes[" + ".join(subset)] = np.mean(seeds, axis=0)
    outcomes[BOOSTING] = boosted(open_dataset(chosen.data, question.columns), question)
    write(chosen.question, question, outcomes, chosen)


def one_run(question: Question, subset: Sequence[str], seed: int, chosen: argparse.Namespace) -> np.ndarray:
    """The counts of each val row with one run, from which the metrics are computed."""
    columns = {role: column for role, column in question.columns.items() if role in (*subset, "label")}
    folder = chosen.output / chosen.question / f"{'-'.join(subset)}-{seed}"
    trained(settings(chosen.data, columns, subset, seed, chosen), folder)
    model = load(folder / "last")
    task = model.task("classification")
    _, answers = evaluate(model.runtime, model.collator, task, open_dataset(chosen.data, columns).split("val"))
    return np.asarray(task.by_label(answers.predictions, answers.samples)[1].counts, np.float64)


def settings(data: Path, columns: dict[str, str], subset: Sequence[str], seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run on some of the inputs, with the built-in image encoder frozen."""
    names = {"image": "image", "text": "prompt", "tabular": "tabular"}
    model = preset("small", ["label"], [names[role] for role in subset])
    run: dict[str, Any] = {
        "task": "classification",
        "data": {"path": str(data), "columns": columns, "limit_val": 50},
        "model": model,
        "optimizer": {"learning_rate": 5e-4, "warmup_steps": 50},
        "objective": {"kind": "likelihood", "label_smoothing": 0.1},
        "epochs": chosen.epochs,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
        "seed": seed,
    }
    if "image" in subset:
        built_in = read_bundle(find_bundle("small"))
        assert built_in.architecture is not None
        model["encoders"]["image"] = built_in.architecture["encoders"]["image"]
        inputs = {name: to_dict(one) for name, one in built_in.interface.inputs.items() if name == "image"}
        others = {"prompt": {"kind": "text"}, "tabular": {"kind": "tabular"}}
        run |= {"inputs": inputs | others, "initialize": {"encoders.image": "small"}}
        run["optimizer"]["scales"] = {"encoders.image": 0}
        run["cache_features"] = str(chosen.output / chosen.question / "features")
    return run


def boosted(dataset: Dataset, question: Question) -> np.ndarray:
    """The counts of gradient boosting on the same columns, like those of ``one_run``."""
    from braid.metrics import score_labels

    names = question.columns["tabular"].split("+")
    rows = {split: list(dataset.split(split)) for split in ("train", "val")}
    cells = {split: [[one.fields["tabular"][name] for name in names] for one in some] for split, some in rows.items()}
    labels = {split: [one.fields["label"] for one in some] for split, some in rows.items()}
    absent = ["missing" if name not in question.numbers else np.nan for name in names]
    tables = {
        split: np.array(
            [[empty if cell is None else cell for cell, empty in zip(row, absent, strict=True)] for row in some], object
        )
        for split, some in cells.items()
    }
    categories = [place for place, name in enumerate(names) if name not in question.numbers]
    encoder = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), categories), remainder="passthrough"
    )
    model = make_pipeline(encoder, HistGradientBoostingClassifier(random_state=0))
    model.fit(tables["train"], labels["train"])
    known = list(model.classes_)
    return np.asarray(
        score_labels(model.predict_proba(tables["val"]), np.array([known.index(label) for label in labels["val"]])).counts
    )


def write(name: str, question: Question, outcomes: dict[str, np.ndarray], chosen: argparse.Namespace) -> None:
    first = next(iter(outcomes))
    columns = ["inputs", *METRICS, *(f"all lead by ({metric})" for metric in METRICS)]
    rows = []
    for inputs, counts in outcomes.items():
        cells = [_shown(100 * metric(counts.mean(0, keepdims=True))[0], *interval(counts, metric)) for metric in METRICS.values()]
        if inputs != first:
            leads = [paired_difference(outcomes[first], counts, metric) for metric in METRICS.values()]
            cells += [_shown(100 * lead.difference, lead.low, lead.high, "+") for lead in leads]
        rows.append([inputs, *cells, *[""] * (len(columns) - 1 - len(cells))])
    how = (
        f"{len(outcomes[first]):,} rows of val; columns {question.columns['tabular']}; {chosen.epochs} epochs, "
        f"the last model, means of {chosen.seeds} seeds; x100."
    )
    report(f"tabular_{name}", question.title, columns, rows, how)


def _shown(metric: float, low: float, high: float, sign: str = "") -> str:
    return f"{metric:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


if __name__ == "__main__":
    main()
