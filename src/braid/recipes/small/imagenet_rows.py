"""Rows of photos with ImageNet's classes, so that an image encoder keeps what it knew while it learns captions.

    python -m braid.recipes.small.imagenet_rows efficientnet-lite2.pth classes.json runs/everyday.jsonl runs/classes.jsonl

The published encoder looks at every training photo, and each of a photo's rows has a class drawn from its probabilities: learning
without forgetting (Li & Hoiem 2016, arXiv:1606.09282), by samples. The first photos of validation have their most probable class,
so that training says how much is kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braid.bundle import find_bundle, read_bundle
from braid.cli.console import progress
from braid.files import write_whole
from braid.recipes.small.imagenet_labels import TOGETHER, distinct, published
from braid.shapes import Float
from braid.training.encoding import fastest

DRAWN = 4  # rows of a photo
VALIDATION = 300  # photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the published weights of the encoder, with their head _fc")
    parser.add_argument("classes", type=Path, help="a list of the names of the head's classes, as JSON")
    parser.add_argument("photos", type=Path, help="a table with image and split")
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", default="small", help="a model whose image encoder has this architecture")
    chosen = parser.parse_args()
    names = distinct(json.loads(chosen.classes.read_text(encoding="utf-8")))
    splits = {row["image"]: row["split"] for row in map(json.loads, chosen.photos.read_text(encoding="utf-8").splitlines())}
    held_out = [photo for photo, split in splits.items() if split == "val"][:VALIDATION]
    photos = [*held_out, *(photo for photo, split in splits.items() if split == "train")]
    state = torch.load(chosen.weights, map_location="cpu", weights_only=True)
    seen = _probabilities(chosen.model, state, photos)
    own = seen[len(held_out) :]
    rows = [(photo, names[row.argmax()]) for photo, row in zip(held_out, seen, strict=False)]
    rng = np.random.default_rng(0)
    for photo, row in zip(photos[len(held_out) :], own, strict=True):
        rows += [(photo, names[place]) for place in rng.choice(len(names), DRAWN, p=row)]
    likest = own.argmax(0)  # of each class, so that the run knows all of them
    rows += [(photos[len(held_out) + photo], name) for photo, name in zip(likest, names, strict=True)]
    write_whole(chosen.output, "".join(_line(photo, splits[photo], name) for photo, name in rows))
    print(f"{chosen.output}: {len(rows):,} rows of {len(photos):,} photos")


def _line(photo: str, split: str, label: str) -> str:
    return json.dumps({"image": photo, "split": split, "label": label}, ensure_ascii=False) + "\n"


def _probabilities(model: str, state: dict[str, Tensor], photos: list[str]) -> Float[np.ndarray, "photos classes"]:
    bundle = read_bundle(find_bundle(model))
    modality: Any = bundle.inputs["image"]
    encode = fastest(published(bundle, state), "float32", modality, len(photos))
    head = state["_fc.weight"].double().numpy(), state["_fc.bias"].double().numpy()
    found = []
    for first in progress(range(0, len(photos), TOGETHER), "looking"):
        padded = modality.pad([modality.prepare(photo, photo) for photo in photos[first : first + TOGETHER]])
        logits = encode(padded).values.mean(1) @ head[0].T + head[1]
        shares = np.exp(logits - logits.max(1, keepdims=True))
        found.append(shares / shares.sum(1, keepdims=True))
    return np.concatenate(found)


if __name__ == "__main__":
    main()
