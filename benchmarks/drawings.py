"""How many objects of a drawn scene are right? By the oracle, for drawings and edits, with a contact sheet to look at.

    python benchmarks/drawings.py image_generation runs/imagine
    python benchmarks/drawings.py editing runs/imagine

``val`` has the pairs of colour and shape that training shows, ``compositional`` those that it never shows. The truth stands
beside each model: what the oracle makes of the true pictures, and of what the codec makes of them, which no drawing can exceed.
Edits are made of the true pictures, and of what the codec makes of those, as of pictures that the model drew itself.
"""

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from braid.api import LoadedModel, load
from braid.datasets import Rows, open_dataset
from braid.evaluation import Answers, evaluate
from braid.records import Drawn, Example, Prediction, Sample
from runs import report, say

FIGURES = ("objects", "sized", "whole", "sentences")
SHOWN = 24  # pictures of a sheet
SHEET, MARGIN, FONT = 860, 12, 11  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["image_generation", "editing"])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--number", type=int, default=1000, help="of scenes a split")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--guidance", type=float, help="that of each model unless given")
    chosen = parser.parse_args()
    rows: list[list[Any]] = []
    for split in ("val", "compositional"):
        scenes = f"scenes:{chosen.task},train=1,{split}={chosen.number},size={chosen.size},seed={chosen.seed}"
        data = open_dataset(scenes).split(split)
        for name in chosen.models:
            say(f"{name} on {split}")
            model = load(name)
            task: Any = model.task("image_generation")
            if chosen.guidance is not None:
                task = replace(task, drawing=replace(task.drawing, guidance=chosen.guidance))
            figures, answers = evaluate(model.runtime, model.collator, task, data, batch_size=50)
            if not rows or rows[-1][0] != split:
                truth = [np.asarray(sample.targets["image"]) for sample in answers.samples]
                rows.append([split, "the true picture", *judged(task, truth, answers)])
                rows.append([split, "the true picture, through the codec", *judged(task, through(model, truth), answers)])
            rows.append([split, Path(name).name, *(figures.get(figure, "") for figure in FIGURES)])
            if chosen.task == "editing":
                drawn, _ = evaluate(model.runtime, model.collator, task, redrawn(model, data), batch_size=50)
                told = [drawn.get(figure, "") for figure in FIGURES]
                rows.append([split, f"{Path(name).name}, of pictures through the codec", *told])
            sheet(answers, Path("runs") / f"drawings-{chosen.task}-{Path(name).name}-{split}.png")
    how = (
        f"Scenes of {chosen.size} x {chosen.size} pixels, {chosen.number:,} of each split, x100. objects: right in shape, colour "
        "and place; sized: in size, too; whole: pictures with every object right and no other; sentences: written ones that are "
        f"true of the picture drawn. Guidance {task.drawing.guidance:g}, temperature {task.drawing.temperature:g}, seed 0, "
        f"scenes of seed {chosen.seed}."
    )
    name = f"drawings_{chosen.task}" + f"_seed_{chosen.seed}" * bool(chosen.seed)
    report(name, "Scenes drawn", ["split", "picture", *FIGURES], rows, how)


def redrawn(model: LoadedModel, data: Rows) -> list[Example]:
    """The same rows, what is to be edited through the codec."""
    pictures = through(model, [np.asarray(row.fields["image"]) for row in data])
    return [replace(row, fields={**row.fields, "image": drawn}) for row, drawn in zip(data, pictures, strict=True)]


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
    """The first pictures, never chosen, each over its prompt; of an edit, what was given beside what came of it."""
    rows = list(zip(answers.predictions, answers.samples, strict=True))
    pictures = [_picture(prediction, sample) for prediction, sample in rows[:SHOWN]]
    across = SHEET // (pictures[0].width + MARGIN)
    pictures = pictures[: len(pictures) // across * across]
    prompts = [textwrap.wrap(sample.inputs["prompt"], pictures[0].width // (FONT // 2)) for _, sample in rows[: len(pictures)]]
    width, height = pictures[0].width + MARGIN, pictures[0].height + MARGIN + FONT * max(map(len, prompts)) + FONT // 2
    canvas = Image.new("RGB", (across * width, len(pictures) // across * height), "white")
    pen = ImageDraw.Draw(canvas)
    for place, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = place % across * width, place // across * height
        canvas.paste(picture, (left, top))
        pen.multiline_text((left, top + picture.height + 2), "\n".join(prompt), "black", ImageFont.load_default(FONT), spacing=1)
    canvas.save(path)
    say(f"  {path}")


def _picture(prediction: Prediction, sample: Sample) -> Image.Image:
    assert prediction.image is not None
    drawn = prediction.image.pixels
    gap = np.full((len(drawn), 2, 3), 255, np.uint8)
    given = [np.asarray(sample.inputs["image"]), gap] if "image" in sample.inputs else []
    picture = Image.fromarray(np.concatenate([*given, drawn], axis=1))
    return picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
