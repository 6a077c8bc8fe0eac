"""AutoGluon Tabular on the texts and tables of own_data.py, which writes the rows; in a virtual environment of its own.

    pip install "autogluon.tabular[lightgbm]"
    python benchmarks/own_data_autogluon.py runs/own_data --seconds 60

It learns from the train and val rows, and reads texts as n-grams. Photos need autogluon.multimodal, whose torch excludes Braid's.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import pandas
from autogluon.tabular import TabularPredictor

SETS = {  # as in own_data.py
    "products-colour-title": ("baseColour", ("masked_title",)),
    "products-kind-title": ("subCategory", ("masked_title",)),
    "lesions-table": ("label", ("age", "sex", "localization")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args()
    for name, (label, columns) in SETS.items():
        lines = (chosen.rows / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        table = pandas.DataFrame([json.loads(line) for line in lines])
        held = table["split"] == "held"
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            predictor = TabularPredictor(label, eval_metric="accuracy", path=place, verbosity=0)
            predictor.fit(table.loc[~held, [*columns, label]], time_limit=chosen.seconds)
            found = predictor.predict(table.loc[held, list(columns)])
            right = 100 * float((found == table.loc[held, label]).mean())
            print(f"{name}: accuracy {right:.1f} on {held.sum()} rows, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
