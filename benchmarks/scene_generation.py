"""The share of objects in generated scenes that are right, by the oracle, for generation and editing, with a contact sheet.

    python benchmarks/scene_generation.py image_generation runs/imagine
    python benchmarks/scene_generation.py editing runs/imagine

``val`` has the pairs of colour and shape of the training rows, ``compositional`` the pairs that training does not have. For
comparison, the oracle also scores the true images, and the true images after the codec, which is the upper bound of generation.
Edits start from the true images, and from the true images after the codec, which are like images that the model generated.
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
from braid.records import Example, GeneratedImage, Prediction, Sample
from runs import report, say

METRICS = ("objects", "sized", "whole", "sentences")
SHOWN = 24  # images of a sheet
SHEET, MARGIN, FONT = 860, 12, 11  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["image_generation", "editing"])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--number", type=int, default=1000, help="number of scenes per split")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes")
    parser.add_argument("--guidance", type=float, help="default: that of each model")
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
                task = replace(task, sampling=replace(task.sampling, guidance=chosen.guidance))
            metrics, answers = evaluate(model.runtime, model.collator, task, data, batch_size=50)
            if not rows or rows[-1][0] != split:
                truth = [np.asarray(sample.targets["image"]) for sample in answers.samples]
                rows.append([split, "the true image", *evaluated(task, truth, answers)])
                rows.append([split, "the true image, through the codec", *evaluated(task, through(model, truth), answers)])
            rows.append([split, Path(name).name, *(metrics.get(metric, "") for metric in METRICS)])
            if chosen.task == "editing":
                generated, _ = evaluate(model.runtime, model.collator, task, through_codec(model, data), batch_size=50)
                edited = [generated.get(metric, "") for metric in METRICS]
                rows.append([split, f"{Path(name).name}, of images through the codec", *edited])
            sheet(answers, Path("runs") / f"scenes-{chosen.task}-{Path(name).name}-{split}.png")
    how = (
        f"Scenes of {chosen.size} x {chosen.size} pixels, {chosen.number:,} of each split, x100. objects: right in shape, colour "
        "and place; sized: also in size; whole: images with every object right and no other; sentences: written sentences that "
        f"are true of the generated image. Guidance {task.sampling.guidance:g}, "
        f"temperature {task.sampling.temperature:g}, seed 0, scenes of seed {chosen.seed}."
    )
    name = "scene_generation" + "_editing" * (chosen.task == "editing") + f"_seed_{chosen.seed}" * bool(chosen.seed)
    report(name, "Generated scenes", ["split", "image", *METRICS], rows, how)


def through_codec(model: LoadedModel, data: Rows) -> list[Example]:
    """The same rows, with the images to edit passed through the codec."""
    images = through(model, [np.asarray(row.fields["image"]) for row in data])
    return [replace(row, fields={**row.fields, "image": generated}) for row, generated in zip(data, images, strict=True)]


def through(model: LoadedModel, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    parts = [images[first : first + 50] for first in range(0, len(images), 50)]
    return [np.asarray(made) for part in parts for _, made in model.reconstruct(part)]


def evaluated(task: Any, images: Sequence[np.ndarray], answers: Answers) -> list[Any]:
    """The oracle's metrics for given images instead of generated ones."""
    empty = np.zeros(0, np.int64)
    given = [
        Prediction(sample.id, image=GeneratedImage(one, empty, 1)) for one, sample in zip(images, answers.samples, strict=True)
    ]
    metrics = replace(task, sentence=False).score(given, answers.samples)
    return [metrics.get(metric, "") for metric in METRICS]


def sheet(answers: Answers, path: Path) -> None:
    """Write the first images, without selection, each above its prompt; an edit shows the input beside the result."""
    rows = list(zip(answers.predictions, answers.samples, strict=True))
    images = [_image(prediction, sample) for prediction, sample in rows[:SHOWN]]
    across = SHEET // (images[0].width + MARGIN)
    images = images[: len(images) // across * across]
    prompts = [textwrap.wrap(sample.inputs["prompt"], images[0].width // (FONT // 2)) for _, sample in rows[: len(images)]]
    width, height = images[0].width + MARGIN, images[0].height + MARGIN + FONT * max(map(len, prompts)) + FONT // 2
    canvas = Image.new("RGB", (across * width, len(images) // across * height), "white")
    pen = ImageDraw.Draw(canvas)
    for place, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        left, top = place % across * width, place // across * height
        canvas.paste(image, (left, top))
        pen.multiline_text((left, top + image.height + 2), "\n".join(prompt), "black", ImageFont.load_default(FONT), spacing=1)
    canvas.save(path)
    say(f"  {path}")


def _image(prediction: Prediction, sample: Sample) -> Image.Image:
    assert prediction.image is not None
    generated = prediction.image.pixels
    gap = np.full((len(generated), 2, 3), 255, np.uint8)
    given = [np.asarray(sample.inputs["image"]), gap] if "image" in sample.inputs else []
    image = Image.fromarray(np.concatenate([*given, generated], axis=1))
    return image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
