"""Does the usual recipe hear more than the statistics of a spectrogram? ESC-10, RAVDESS speech, UrbanSound8K.

    python benchmarks/sounds.py esc10 data/esc10/clips.jsonl             five official folds; columns audio, label, fold
    python benchmarks/sounds.py ravdess data/ravdess-speech/clips.jsonl  emotions of new speakers; columns audio, label, split
    python benchmarks/sounds.py urban data/UrbanSound8K/audio            folds 1 and 2 -> 10; the class is in the file's name

Every model is trained as `braid train --task classification` does in its main stage, for a fixed number of epochs: test rows
select nothing, because the last model answers. The control has the mean, the deviation and the mean change of every mel band, and
logistic regression on the same rows. Intervals (95%) are from a bootstrap over the recordings.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braid.api import load
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.files import write_whole
from braid.metrics import interval, paired_difference
from braid.modalities import AudioModalityConfig
from braid.training.defaults import default_run
from runs import report, say, trained

Rows = list[dict[str, Any]]
TITLES = {
    "esc10": "ESC-10 in its five folds",
    "ravdess": "RAVDESS speech, speakers never heard",
    "urban": "UrbanSound8K, folds 1 and 2 -> 10",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("esc10", "ravdess", "urban"))
    parser.add_argument("data", type=Path, help="a table, or the folder of UrbanSound8K")
    parser.add_argument("--folds", nargs="*", default=[], help="of ESC-10; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="settings of the runs")
    parser.add_argument("--output", type=Path, default=Path("runs/sounds"))
    chosen = parser.parse_args()
    rows = rows_of_urban(chosen.data) if chosen.name == "urban" else rows_of(chosen.data)
    known = statistics(rows)
    ours, control, f1 = [], [], []
    for fold, tested in folds(rows):
        if chosen.folds and fold not in chosen.folds:
            continue
        folder = chosen.output / f"{chosen.name}-{fold}"
        right, macro = answered(rows, tested, folder, chosen.threads, chosen.settings)
        ours.append(right)
        f1.append(macro)
        control.append(regressed(known, rows, tested))
        say(f"  fold {fold}: {100 * ours[-1].mean():.1f}, control {100 * control[-1].mean():.1f}")
    write(chosen.name, np.concatenate(ours), np.concatenate(control), [100 * one.mean() for one in ours], f1)


def rows_of(table: Path) -> Rows:
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    return [row | {"audio": str((table.parent / row["audio"]).resolve())} for row in rows]


def rows_of_urban(folder: Path) -> Rows:
    """Folds 1 and 2 to train on, fold 10 as val; a file is named SOURCE-CLASS-OCCURRENCE-SLICE.wav."""
    splits = {"fold1": "train", "fold2": "train", "fold10": "val"}
    files = sorted(file for fold in splits for file in (folder / fold).glob("*.wav"))
    return [
        {"audio": str(file.resolve()), "label": f"class {file.name.split('-')[1]}", "split": splits[file.parent.name]}
        for file in files
    ]


def folds(rows: Rows) -> list[tuple[str, np.ndarray]]:
    """The name of each fold, and which rows it tests."""
    if "fold" not in rows[0]:
        return [("val", np.array([row["split"] == "val" for row in rows]))]
    given = np.array([row["fold"] for row in rows])
    return [(str(fold), given == fold) for fold in np.unique(given)]


def statistics(rows: Rows) -> np.ndarray:
    """The mean, the deviation and the mean change of every mel band, for each recording."""
    modality = AudioModalityConfig().build()
    frames = [modality.prepare(row["audio"]).frames for row in rows]
    return np.array([np.concatenate([one.mean(0), one.std(0), np.abs(np.diff(one, axis=0)).mean(0)]) for one in frames])


def regressed(known: np.ndarray, rows: Rows, tested: np.ndarray) -> np.ndarray:
    """Whether the control is right, for each tested row."""
    labels = np.array([row["label"] for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    right = model.fit(known[~tested], labels[~tested]).predict(known[tested]) == labels[tested]
    return np.asarray(right, np.float64)


def answered(rows: Rows, tested: np.ndarray, folder: Path, threads: int, settings: list[str]) -> tuple[np.ndarray, float]:
    """Whether the last model of a run is right, for each tested row; and its macro F1, x100."""
    table = folder.with_suffix(".jsonl")
    split = [
        {"audio": row["audio"], "label": row["label"], "split": "test" if one else "train"}
        for row, one in zip(rows, tested, strict=True)
    ]
    write_whole(table, "".join(json.dumps(row) + "\n" for row in split))
    run = default_run("classification", {"path": str(table), "val": "test", "limit_val": 8}) | {"threads": threads}
    run |= {"evaluation": {"limit": 8}}
    trained(run, folder, settings)
    model = load(folder / "last")
    metrics, answers = evaluate(model.runtime, model.collator, model.task("classification"), open_dataset(table).split("test"))
    known = zip(answers.predictions, answers.samples, strict=True)
    return np.array([float(prediction.label in sample.references) for prediction, sample in known]), metrics["macro-f1"]


def write(name: str, ours: np.ndarray, control: np.ndarray, each: list[float], f1: list[float]) -> None:
    def accuracy(means: np.ndarray) -> np.ndarray:
        return means[:, 0]

    rows = []
    for label, right in (("statistics and logistic regression", control), ("Braid, the usual recipe", ours)):
        low, high = interval(right[:, None], accuracy)
        rows.append([label, f"{100 * right.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})", ""])
    lead = paired_difference(ours[:, None], control[:, None], accuracy)
    rows[1][2] = f"{100 * lead.difference:+.1f} ({100 * lead.low:+.1f} to {100 * lead.high:+.1f})"
    folds = f" By fold: {', '.join(f'{one:.1f}' for one in each)}." if len(each) > 1 else ""
    how = f"{len(ours):,} recordings; accuracy x100 of the last model, seed 0.{folds} Macro F1 of Braid: {np.mean(f1):.1f}."
    report(f"sounds_{name}", TITLES[name], ["model", "accuracy", "lead"], rows, how)


if __name__ == "__main__":
    main()
