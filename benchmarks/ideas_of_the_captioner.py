"""Ablations of the built-in captioner: short runs of the recipe's second step, with one setting changed at a time.

    python benchmarks/ideas_of_the_captioner.py recipes/small/2-captions.yaml      about 45 minutes on two cores

All runs have the same photos, steps and seed. Differences are on the same val photos, with 95% intervals from a paired bootstrap
of 1,000 samples (CIDEr per photo, document frequencies of all photos). Short runs show what helps early; ideas that help late
(augmentation, smoothing) have smaller effects here than in a full run.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from braid.api import load
from braid.config import parse_yaml, with_overrides
from braid.datasets import open_dataset
from braid.evaluation import predict, prepared
from braid.files import shipped
from braid.metrics import score_captions
from runs import report, trained

MOBILENET = "{kind: mobilenet, padding: tensorflow, folded: true}"
# an idea of the recipe -> the settings that remove it
IDEAS: dict[str, list[str]] = {
    "words learned from text first": ["initialize={{encoders.image: {efficientnet}}}"],
    "image encoder fine-tuned": ["optimizer.scales={encoders.image: 0}"],
    "EfficientNet-Lite2, not MobileNetV2": [
        f"model.encoders.image={MOBILENET}",
        "initialize={{encoders.image: {mobilenet}, decoders.text: {words}}}",
        "optimizer.scales={encoders.image: 0.1, encoders.image.features.0: 0, encoders.image.features.1: 0, "
        "encoders.image.features.2: 0, encoders.image.features.3: 0, encoders.image.features.4: 0, encoders.image.features.5: 0, "
        "encoders.image.features.6: 0}",
    ],
    "256 pixels, not 224": ["inputs.image.size=224"],
    "transformer blocks as fusion": ["model.fusion={kind: concat, mode: sequences}"],
    "augmentation": ["inputs.image.augmentation=null"],
    "label smoothing": ["objective.label_smoothing=0"],
    "average of weights (EMA)": ["ema=0"],
    "dropout of the image": ["input_dropout={}"],
}
# an idea that the recipe lacks -> the settings that add it
ADDED: dict[str, list[str]] = {"two sizes of each photo": ["model.encoders.image.scales=[1.0, 1.25]"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--mobilenet", default="../shared/data/weights/mobilenet_v2", help="weights of MobileNetV2")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/ideas_of_the_captioner"))
    chosen = parser.parse_args()
    short = [f"data.limit_train={chosen.photos}", f"epochs={chosen.epochs}", f"threads={chosen.threads}", "keep=0"]
    short += ["evaluation.limit=100", "optimizer.warmup_steps=50", "ema=0.99"]
    recipe = parse_yaml(shipped(chosen.recipe).read_text(encoding="utf-8"))
    whole = items(recipe, short, chosen.output / "whole")
    rows = [["the recipe", "", f"{np.mean(whole):.1f}", ""]]
    for changes, sign in ((IDEAS, 1), (ADDED, -1)):
        for idea, settings in changes.items():
            result = items(recipe, [*short, *_filled(settings, recipe, chosen.mobilenet)], chosen.output / _slug(idea))
            with_it, without = (whole, result) if sign > 0 else (result, whole)
            rows.append([idea, f"{np.mean(with_it):.1f}", f"{np.mean(without):.1f}", difference(with_it - without)])
            how = f"{chosen.photos} photos, {chosen.epochs} epochs, seed 0; CIDEr (x100) on the 1,000 val photos, greedy."
            report("ideas_of_the_captioner", "Ideas behind the captioner", ["idea", "with", "without", "difference"], rows, how)


def items(recipe: dict[str, Any], settings: list[str], folder: Path) -> np.ndarray:
    """CIDEr of each val photo's caption, with the last model of a run."""
    run = trained(with_overrides(recipe, settings), folder)
    model = load(run.folder / "last")
    task = model.task("captioning", beam=1)
    samples = prepared(task, open_dataset(recipe["data"]["path"]).split("val"))
    answers = predict(model.runtime, model.collator, task, samples, batch_size=50)
    texts = {prediction.id: prediction.text or "" for prediction in answers.predictions}
    scores = score_captions(texts, {sample.id: sample.references for sample in answers.samples}).per_sample
    return np.array([scores[sample.id]["cider"] for sample in samples])


def difference(differences: np.ndarray) -> str:
    """Mean of the differences, and its 95% bootstrap interval."""
    rng = np.random.default_rng(0)
    means = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{differences.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def _filled(settings: list[str], recipe: dict[str, Any], mobilenet: str) -> list[str]:
    """The settings with the paths of the recipe's initial weights filled in."""
    efficientnet, words = recipe["initialize"]["encoders.image"], recipe["initialize"]["decoders.text"]
    places = {"{mobilenet}": mobilenet, "{efficientnet}": efficientnet, "{words}": words}
    for place, path in places.items():
        settings = [setting.replace(place, path) for setting in settings]
    return [setting.replace("{{", "{").replace("}}", "}") for setting in settings]


def _slug(idea: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in idea.lower())


if __name__ == "__main__":
    main()
