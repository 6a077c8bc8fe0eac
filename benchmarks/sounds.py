"""Does the usual recipe hear more than the statistics of a spectrogram? ESC-10, RAVDESS speech, UrbanSound8K.

    python benchmarks/sounds.py esc10 data/esc10/clips.jsonl             five official folds; columns audio, label, fold
    python benchmarks/sounds.py ravdess data/ravdess-speech/clips.jsonl  emotions of new speakers; columns audio, label, split
    python benchmarks/sounds.py urban data/UrbanSound8K/audio            folds 1 and 2 -> 10; the class is in the file's name

Every model is trained as `braid train --task classification` does in its main stage, and then as `--time` goes on: with the last
blocks of the encoder. Both have a fixed number of epochs: test rows select nothing, because the last model answers. The control
has the mean, the deviation and the mean change of every mel band, and logistic regression on the same rows. Intervals (95%) are
from a bootstrap over the recordings.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braid.config import to_dict
from braid.files import write_whole
from braid.metrics import interval, paired_difference
from braid.modalities import AudioModalityConfig
from braid.training import run_from
from braid.training.budget import LAST_HEARD, deeper_run
from braid.training.defaults import default_run
from runs import answered, report, say, trained

Rows = list[dict[str, Any]]
CONTROL = "statistics and logistic regression"
QUICK = "Braid, the quick way"
DEEPER = "Braid, then the last blocks of the encoder"
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
    parser.add_argument("--deeper", type=int, default=10, help="epochs with the last blocks of the encoder; 0 leaves them out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", dest="settings", nargs="*", default=[], help="settings of the runs")
    parser.add_argument("--output", type=Path, default=Path("runs/sounds"))
    chosen = parser.parse_args()
    rows = rows_of_urban(chosen.data) if chosen.name == "urban" else rows_of(chosen.data)
    known = statistics(rows)
    right: dict[str, list[np.ndarray]] = {CONTROL: [], QUICK: [], DEEPER: []}
    f1: dict[str, list[float]] = {QUICK: [], DEEPER: []}
    for fold, tested in folds(rows):
        if chosen.folds and fold not in chosen.folds:
            continue
        folder = chosen.output / f"{chosen.name}-{fold}"
        right[CONTROL].append(regressed(known, rows, tested))
        for name, model in models(rows, tested, folder, chosen.threads, chosen.deeper, chosen.settings):
            said = answered(model, "classification", folder.with_suffix(".jsonl"), {}, "test")
            right[name].append(said.right / 100)
            f1[name].append(said.metrics["macro-f1"])
        say(f"  fold {fold}: " + ", ".join(f"{name} {100 * one[-1].mean():.1f}" for name, one in right.items() if one))
    write(chosen.name, {name: one for name, one in right.items() if one}, f1)


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


def models(
    rows: Rows, tested: np.ndarray, folder: Path, threads: int, deeper: int, settings: list[str]
) -> Iterator[tuple[str, Path]]:
    """The last models of the main stage, and of the stage after it."""
    table = folder.with_suffix(".jsonl")
    split = [
        {"audio": row["audio"], "label": row["label"], "split": "test" if one else "train"}
        for row, one in zip(rows, tested, strict=True)
    ]
    write_whole(table, "".join(json.dumps(row) + "\n" for row in split))
    run = default_run("classification", {"path": str(table), "val": "test", "limit_val": 8}) | {"threads": threads}
    config = run_from({**run, "evaluation": {"limit": 8}}, settings)
    trained(to_dict(config), folder)
    yield QUICK, folder / "last"
    if deeper:
        going_on = replace(deeper_run(config, folder / "last", "audio", LAST_HEARD), epochs=deeper)
        after = folder.with_name(f"{folder.name}-deeper")
        trained(to_dict(going_on), after)
        yield DEEPER, after / "last"


def write(name: str, right: dict[str, list[np.ndarray]], f1: dict[str, list[float]]) -> None:
    def accuracy(means: np.ndarray) -> np.ndarray:
        return means[:, 0]

    rows = []
    control = np.concatenate(right[CONTROL])[:, None]
    for label, folds in right.items():
        whole = np.concatenate(folds)[:, None]
        low, high = interval(whole, accuracy)
        lead = paired_difference(whole, control, accuracy)
        shown = f"{100 * lead.difference:+.1f} ({100 * lead.low:+.1f} to {100 * lead.high:+.1f})"
        rows.append(
            [
                label,
                f"{100 * whole.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})",
                "" if label == CONTROL else shown,
                f"{np.mean(f1[label]):.1f}" if label in f1 else "",
                ", ".join(f"{100 * one.mean():.1f}" for one in folds) if len(folds) > 1 else "",
            ]
        )
    how = f"{len(control):,} recordings, accuracy x100 of the last model, seed 0."
    report(f"sounds_{name}", TITLES[name], ["model", "accuracy", "lead", "macro F1", "folds"], rows, how)


if __name__ == "__main__":
    main()
