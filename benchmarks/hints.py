"""What is left of ImageNet's classes in the built-in model: one photo of each class, none of which it was trained on.

    python benchmarks/hints.py imagenet-sample-images efficientnet-lite2.pth classes.json      about two minutes of two cores

The folder has one JPEG a class (github EliSchwartz/imagenet-sample-images), whose names begin with the class's WordNet number.
The peer is the published encoder with its own head, which the model's encoder began as. A class is sure at 0.5, as hints are.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braid.api import load
from braid.recipes.small.imagenet_labels import distinct, seen
from braid.records import Sample
from braid.runtime.opening import open_runtime
from braid.tasks.hints import SURE
from braid.tasks.label_selection import choose
from runs import report, say, shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path, help="the published weights of the encoder, with their head")
    parser.add_argument("classes", type=Path, help="a list of the names of the head's classes, as JSON")
    parser.add_argument("--model", default="small")
    chosen = parser.parse_args()
    photos = sorted(map(str, chosen.photos.glob("n*.JPEG")))  # in the order of WordNet numbers, which is that of the classes
    model = load(chosen.model)
    hints: Any = model.task("captioning").hints
    say(f"{len(photos):,} photos")
    state = torch.load(chosen.weights, map_location="cpu", weights_only=True)
    _, logits = seen(model.bundle, state, photos)
    runtime = open_runtime(model.bundle)
    names = distinct(json.loads(chosen.classes.read_text(encoding="utf-8")))
    found = [
        choose(runtime, hints.output, part, hints.temperature)[0].scores
        for part in (model.collator([Sample(photo, {"image": photo}, source=photo)]).batch for photo in photos)
    ]
    own = np.array([[scores[name] for name in names] for scores in found])
    tables = {"its hints": own, "the published encoder and its head": logits.softmax(1).numpy()}
    rows = [[name, *scored(probabilities)] for name, probabilities in tables.items()]
    how = (
        f"{len(photos):,} photos, one of each class; `{chosen.model}` learned captions and questions since. "
        "x100, with 95% bootstrap intervals over photos."
    )
    report("hints", "Classes of ImageNet", ["classes by", "right", "sure (0.5)", "right where sure"], rows, how)


def scored(probabilities: np.ndarray) -> list[str]:
    right = probabilities.argmax(1) == np.arange(len(probabilities))
    sure = probabilities.max(1) >= SURE
    return [shown(100.0 * right), shown(100.0 * sure), shown(100.0 * right[sure])]


if __name__ == "__main__":
    main()
