"""Quality of images that are generated from captions: do they look like photos, and do they match the captions?

    python benchmarks/photo_generation.py runs/photos ../shared/data/flickr8k/captions.jsonl

An image is generated from the first caption of each photo of a split. It is compared with other real photos, with the same photos
after the codec (the upper bound of generation), and with the generated images assigned to wrong captions: a model that ignores
its prompt scores the same there.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braid.api import LoadedModel, load
from braid.datasets import open_dataset
from braid.evaluation import Answers, evaluate
from braid.metrics import score_captions
from braid.modalities import ImageModality
from braid.records import Example, GeneratedImage, Prediction
from braid.search import fidelity
from braid.tasks import task_named
from runs import report, say

COLUMNS = ("images", "FID", "KID", "precision", "recall", "match", "caption cycle")
BATCH = 50
SHEET = (12, 4)  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--split", default="val")
    parser.add_argument("--extractor", default="small", help="embeds images and captions, and writes captions")
    parser.add_argument("--number", type=int, default=1000, help="number of photos")
    chosen = parser.parse_args()
    model, extractor = load(chosen.model), load(chosen.extractor)
    data = open_dataset(chosen.data)
    examples = [_first_caption(example) for example in data.split(chosen.split)[: chosen.number]]
    say(f"{chosen.model} generates {len(examples)} images")
    _, generated = evaluate(model.runtime, model.collator, model.task("image_generation"), examples, batch_size=BATCH)
    real = _small(model, [example.fields["image"] for example in examples])
    generated = _with_truth(generated, real)
    others = _small(model, [example.fields["image"] for example in data.split("train")[: len(examples)]])
    order = list(range(len(examples)))
    random.Random(0).shuffle(order)
    shuffled = [generated.predictions[place] for place in order]
    shown: dict[str, Answers] = {
        "other photos, of train": _showing(generated, others),
        "the photos, through the codec": _showing(generated, _through(model, real)),
        "generated": generated,
        "generated, with other captions": replace(generated, predictions=tuple(shuffled)),
    }
    rows: list[list[Any]] = [["the photos", 0.0, 0.0, 100.0, 100.0, *_match(extractor, _showing(generated, real), examples)]]
    for name, answers in shown.items():
        say(name)
        metrics = fidelity(extractor.runtime, extractor.collator, task_named("image_generation"), answers)
        rows.append(
            [name, *(metrics[key] for key in ("fid", "kid", "precision", "recall")), *_match(extractor, answers, examples)]
        )
    sheet(generated, Path("runs") / f"photos-{Path(chosen.model).name}.png")
    size = real[0].shape[0]
    how = (
        f"{len(examples):,} photos of Flickr8k's {chosen.split}, {size} x {size} pixels, squashed, the first caption of each; "
        f"`{Path(chosen.model).name}`, seed 0. FID and KID x1000, precision and recall x100, by "
        f"the embeddings of `{chosen.extractor}`, which saw Flickr8k's train photos; match: mean cosine of image and caption, "
        "x100; caption cycle: cider-2015 of the caption that it writes for the image (beam 3, ptb), against the photo's captions."
    )
    report("photo_generation", "Images generated from captions", COLUMNS, rows, how)


def _first_caption(example: Example) -> Example:
    captions = example.fields["captions"]
    return replace(example, fields={**example.fields, "captions": captions[:1], "references": captions})


def _small(model: LoadedModel, images: Sequence[Any]) -> list[np.ndarray]:
    """Images at the size of the codec."""
    modality = model.bundle.outputs["image"]
    assert isinstance(modality, ImageModality)
    return [modality.images(modality.pad([modality.prepare(one, "photo")]).values)[0] for one in images]


def _through(model: LoadedModel, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    parts = [images[first : first + BATCH] for first in range(0, len(images), BATCH)]
    return [np.asarray(one) for part in parts for _, one in model.reconstruct(part)]


def _showing(answers: Answers, images: Sequence[np.ndarray]) -> Answers:
    """The same rows with other images."""
    none = np.zeros(0, np.int64)
    result = [
        Prediction(sample.id, image=GeneratedImage(one, none, 1)) for sample, one in zip(answers.samples, images, strict=True)
    ]
    return replace(answers, predictions=tuple(result))


def _with_truth(answers: Answers, images: Sequence[np.ndarray]) -> Answers:
    """The same rows with photos of the generated size as targets."""
    samples = [replace(sample, targets={"image": one}) for sample, one in zip(answers.samples, images, strict=True)]
    return replace(answers, samples=tuple(samples))


def _match(extractor: LoadedModel, answers: Answers, examples: Sequence[Example]) -> list[float]:
    """How well images match their captions, and how well captions of the images match the references."""
    images = [one.image.pixels for one in answers.predictions if one.image]
    vectors = np.concatenate([extractor.embed(images=images[k : k + BATCH]) for k in range(0, len(images), BATCH)])
    prompts = extractor.embed(texts=[example.fields["captions"][0] for example in examples])
    written = {e.id: one.text or "" for e, one in zip(examples, extractor.captions(images), strict=True)}
    scores = score_captions(written, {example.id: example.fields["references"] for example in examples})
    return [100 * float((vectors * prompts).sum(1).mean()), scores.metrics["cider-2015"]]


def sheet(answers: Answers, path: Path) -> None:
    """Write a sheet of the first images, row by row."""
    columns, rows = SHEET
    images = [one.image.pixels for one in answers.predictions[: columns * rows] if one.image]
    whole = np.concatenate([np.concatenate(images[k : k + columns], 1) for k in range(0, len(images), columns)])
    Image.fromarray(whole).save(path)
    say(f"{path}: {', '.join(str(sample.inputs['prompt']) for sample in answers.samples[:columns])}")


if __name__ == "__main__":
    main()
