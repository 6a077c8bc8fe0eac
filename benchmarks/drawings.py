"""How many objects of a drawn scene are right? By the oracle, for drawings and edits, with a contact sheet to look at.

    python benchmarks/drawings.py image_generation runs/imagine
    python benchmarks/drawings.py editing runs/edit

``val`` has the pairs of colour and shape that training shows, ``compositional`` those that it never shows. The truth stands
beside each model: what the oracle makes of the true pictures, and of what the codec makes of them, which no drawing can exceed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braid.api import LoadedModel, load
from braid.datasets import open_dataset
from braid.evaluation import Answers, evaluate
from braid.records import Drawn, Prediction, Sample
from runs import report, say

FIGURES = ("objects", "sized", "whole", "sentences")
SHOWN = 8  # pictures a side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["image_generation", "editing"])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--number", type=int, default=1000, help="of scenes a split")
    parser.add_argument("--size", type=int, default=64)
    chosen = parser.parse_args()
    rows: list[list[Any]] = []
    for split in ("val", "compositional"):
        data = open_dataset(f"scenes:{chosen.task},train=1,{split}={chosen.number},size={chosen.size}").split(split)
        for name in chosen.models:
            say(f"{name} on {split}")
            model = load(name)
            task = model.task("image_generation")
            figures, answers = evaluate(model.runtime, model.collator, task, data, batch_size=50)
            if not rows or rows[-1][0] != split:
                truth = [np.asarray(sample.targets["image"]) for sample in answers.samples]
                rows.append([split, "the true picture", *judged(task, truth, answers)])
                rows.append([split, "the true picture, through the codec", *judged(task, through(model, truth), answers)])
            rows.append([split, Path(name).name, *(figures.get(figure, "") for figure in FIGURES)])
            sheet(answers, Path("runs") / f"drawings-{chosen.task}-{Path(name).name}-{split}.png")
    how = (
        f"Scenes of {chosen.size} x {chosen.size} pixels, {chosen.number:,} of each split, x100. objects: right in shape, colour "
        "and place; sized: in size, too; whole: pictures with every object right and no other; sentences: written ones that are "
        "true of the picture drawn. Seed 0."
    )
    report(f"drawings_{chosen.task}", "Scenes drawn", ["split", "picture", *FIGURES], rows, how)


def through(model: LoadedModel, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    parts = [pictures[first : first + 50] for first in range(0, len(pictures), 50)]
    return [np.asarray(made) for part in parts for made in model.reconstruct(part)]


def judged(task: Any, pictures: Sequence[np.ndarray], answers: Answers) -> list[Any]:
    """The oracle's figures of given pictures in place of the drawn ones."""
    empty = np.zeros(0, np.int64)
    given = [Prediction(sample.id, image=Drawn(one, empty, 1)) for one, sample in zip(pictures, answers.samples, strict=True)]
    figures = replace(task, sentence=False).score(given, answers.samples)
    return [figures.get(figure, "") for figure in FIGURES]


def sheet(answers: Answers, path: Path) -> None:
    """The first pictures, never chosen; of an edit, what was given beside each."""
    rows = list(zip(answers.predictions, answers.samples, strict=True))[: SHOWN**2]
    tiles = [_tile(prediction, sample) for prediction, sample in rows]
    height, width = tiles[0].shape[:2]
    canvas = np.full((SHOWN * (height + 4), SHOWN * (width + 4), 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // SHOWN * (height + 4), place % SHOWN * (width + 4)
        canvas[top : top + height, left : left + width] = tile
    Image.fromarray(canvas).resize((canvas.shape[1] * 2, canvas.shape[0] * 2), Image.Resampling.NEAREST).save(path)
    lines = [f"{number + 1}. {sample.inputs['prompt']}" for number, (_, sample) in enumerate(rows)]
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    say(f"  {path}")


def _tile(prediction: Prediction, sample: Sample) -> np.ndarray:
    assert prediction.image is not None
    given = [np.asarray(sample.inputs["image"])] if "image" in sample.inputs else []
    return np.concatenate([*given, prediction.image.pixels], axis=1)


if __name__ == "__main__":
    main()
