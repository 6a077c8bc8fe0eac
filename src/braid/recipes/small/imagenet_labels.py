"""The built-in model learns to say what its image encoder knew of ImageNet's 1,000 classes before it learned captions.

    python -m braid.recipes.small.imagenet_labels runs/small-tasks/last efficientnet-lite2.pth classes.json runs/everyday.jsonl \\
        --output runs/small

Training has moved the encoder's features, so the head of the published weights does not fit any more. Ridge regression finds, on
photos without labels, the linear map from the new features to the logits of the old encoder; the best map of a low rank, for the
covariance of the features, becomes a label decoder. One temperature makes the probability of an everyday word, such as dog for
its 121 classes, that of finding it in a caption.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from braid.bundle import Bundle, find_bundle, read_bundle, write_bundle
from braid.cli.console import progress
from braid.config import to_dict
from braid.modalities import LabelsModalityConfig
from braid.runtime.torch import load_model
from braid.shapes import Float
from braid.tasks.hints import Hints, forms, has
from braid.training.encoding import fastest

OUTPUT = "label"
RIDGE = 100.0  # of standardised features
TEMPERATURES = np.geomspace(0.2, 5.0, 65)
TOGETHER = 32  # photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder whose image encoder began with the weights")
    parser.add_argument("weights", type=Path, help="the published weights of the encoder, with their head _fc")
    parser.add_argument("classes", type=Path, help="a list of the names of the head's classes, as JSON")
    parser.add_argument("photos", type=Path, help="a table with image, captions, language and split")
    parser.add_argument("--rank", type=int, default=192)
    parser.add_argument("--output", "-o", type=Path, required=True)
    chosen = parser.parse_args()
    bundle = read_bundle(find_bundle(chosen.model))
    state = torch.load(chosen.weights, map_location="cpu", weights_only=True)
    rows = list(map(json.loads, chosen.photos.read_text(encoding="utf-8").splitlines()))
    english = {row["image"]: row["captions"] for row in rows if row["split"] == "train" and row["language"] == "en"}
    features, logits = seen(bundle, state, list(english))
    decoder = fitted(features, logits, chosen.rank)
    temperature = calibrated(read_by(decoder, features), list(english.values()))
    write(bundle, decoder, distinct(json.loads(chosen.classes.read_text(encoding="utf-8"))), temperature, chosen.output)
    print(f"{chosen.output}: {len(english):,} photos, temperature {temperature:.2f}")


def seen(bundle: Bundle, state: Mapping[str, Tensor], photos: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The mean features of the model's encoder for each photo, and the logits of the old encoder."""
    modality: Any = bundle.inputs["image"]
    parts = (load_model(bundle).eval().encoders["image"], published(bundle, state))
    encoders = [fastest(part, "float32", modality, len(photos)) for part in parts]
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for some in progress([photos[first : first + TOGETHER] for first in range(0, len(photos), TOGETHER)], "encoding"):
        padded = modality.pad([modality.prepare(photo, photo) for photo in some])
        for encode, vectors in zip(encoders, found, strict=True):
            vectors.append(encode(padded).values.mean(1))
    features, own = (torch.from_numpy(np.concatenate(vectors)).double() for vectors in found)
    return features, own @ state["_fc.weight"].double().T + state["_fc.bias"].double()


def published(bundle: Bundle, state: Mapping[str, Tensor]) -> Any:
    """The model's image encoder with its published weights."""
    model = load_model(bundle)
    encoder: Any = model.encoders["image"]
    old = type(encoder)(model.config.encoders["image"], bundle.inputs["image"]).eval()
    old.load_state_dict(old.standard_names(state))
    return old


def fitted(features: Float[Tensor, "photos width"], logits: Float[Tensor, "photos classes"], rank: int) -> dict[str, Tensor]:
    """The parameters of the decoder: a norm, and a linear map of a low rank."""
    width = features.shape[1]
    targets = logits - logits.mean(1, keepdim=True)  # a softmax does not see what all classes share
    down, up, bias = low_rank(F.layer_norm(features, (width,)), targets, rank)
    norm = {"layers.0.weight": torch.ones(width), "layers.0.bias": torch.zeros(width)}
    return norm | {"layers.2.weight": down, "layers.2.bias": torch.zeros(rank), "layers.4.weight": up, "layers.4.bias": bias}


def read_by(decoder: Mapping[str, Tensor], features: Float[Tensor, "photos width"]) -> Float[Tensor, "photos classes"]:
    """The logits of the decoder."""
    inputs = F.layer_norm(features, features.shape[1:])
    return inputs @ decoder["layers.2.weight"].T @ decoder["layers.4.weight"].T + decoder["layers.4.bias"]


def calibrated(logits: Float[Tensor, "photos classes"], captions: Sequence[Sequence[str]]) -> float:
    """The temperature at which the word of the first class is in a photo's captions with its probability: that of the lowest
    cross-entropy."""
    by_class = words(logits.shape[1])["en"]
    firsts = [by_class[place] for place in logits.argmax(1).tolist()]
    named = [row for row, word in enumerate(firsts) if word]
    found = torch.tensor([has(" ".join(captions[row]).lower(), forms(firsts[row])) for row in named]).to(logits.dtype)
    member = torch.tensor([[float(firsts[row] == word) for word in by_class] for row in named], dtype=logits.dtype)
    losses = []
    for temperature in TEMPERATURES:
        sure = ((logits[named] / temperature).softmax(1) * member).sum(1).clamp(0, 1)
        losses.append(float(F.binary_cross_entropy(sure, found)))
    return float(TEMPERATURES[int(np.argmin(losses))])


def low_rank(
    inputs: Float[Tensor, "photos width"], targets: Float[Tensor, "photos classes"], rank: int
) -> tuple[Float[Tensor, "rank width"], Float[Tensor, "classes rank"], Float[Tensor, " classes"]]:
    """Reduced-rank ridge regression: ``down``, ``up`` and the bias (Mukherjee & Zhu 2011, arXiv:1012.2405)."""
    mean, deviation, centre = inputs.mean(0), inputs.std(0), targets.mean(0)
    standard = (inputs - mean) / deviation
    covariance = standard.T @ standard + RIDGE * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    whole = torch.linalg.solve(covariance, standard.T @ (targets - centre))
    values, vectors = torch.linalg.eigh(covariance)
    half = vectors * values.sqrt()  # half @ half.T is the covariance
    left, strengths, right = torch.linalg.svd(half.T @ whole, full_matrices=False)
    share = strengths[:rank].sqrt()
    down = (vectors * values.rsqrt() @ left[:, :rank] * share).T / deviation
    up = right[:rank].T * share
    return down, up, centre - up @ down @ mean


def distinct(names: Sequence[str]) -> list[str]:
    """The names of the classes; a name that two have gets a number: "missile 2"."""
    times: Counter[str] = Counter()
    result = []
    for name in names:
        times[name] += 1
        result.append(name if times[name] == 1 else f"{name} {times[name]}")
    return result


def chinese_names() -> tuple[str, ...]:
    lines: list[list[Any]] = _read("chinese-classes.yaml")
    return tuple(str(name) for line in lines for name in line)


def words(number: int) -> dict[str, tuple[str, ...]]:
    """The words that captions have for each of a ``number`` of classes: in English, and those of in_chinese.py in Chinese."""
    english = [""] * number
    for names, numbers in _read("everyday-words.yaml").items():
        for part in str(numbers).split():
            first, _, last = part.partition("-")
            for place in range(int(first), int(last or first) + 1):
                english[place] = names
    nouns = {name: chinese for group in _read("chinese-words.yaml")["nouns"].values() for name, chinese in group.items()}
    return {"en": tuple(english), "zh": tuple(nouns.get(names.split(", ")[0], "") for names in english)}


def _read(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))


def write(bundle: Bundle, decoder: Mapping[str, Tensor], names: Sequence[str], temperature: float, folder: Path) -> None:
    """Save the model with the decoder, whose labels are hints beside captions."""
    architecture: Any = bundle.architecture
    rank = decoder["layers.2.bias"].shape[0]
    order = sorted(range(len(names)), key=names.__getitem__)  # as a run that is trained on them has them
    ordered = {name: value[order] if name.startswith("layers.4.") else value for name, value in decoder.items()}
    part = {"kind": "classes", "reads": "pooled", "input": "image", "hidden_width": rank, "linear": True, "dropout": 0.0}
    decoders = {**architecture["decoders"], OUTPUT: part}
    weights = bundle.weights() | {f"decoders.{OUTPUT}.{name}": value.float().numpy() for name, value in ordered.items()}
    own = {language: tuple(said[place] for place in order) for language, said in words(len(names)).items()}
    chinese = chinese_names()
    hints = to_dict(Hints(OUTPUT, temperature, {"zh": tuple(chinese[place] for place in order)}, own))
    tasks = {**bundle.interface.tasks, "captioning": {**bundle.interface.tasks["captioning"], "hints": hints}}
    outputs = {**bundle.interface.outputs, OUTPUT: LabelsModalityConfig(labels=tuple(sorted(names)))}
    interface = replace(bundle.interface, outputs=outputs, tasks=tasks)
    write_bundle(folder, interface, bundle.tokenizers, {**to_dict(architecture), "decoders": decoders}, weights, half=True)


if __name__ == "__main__":
    main()
