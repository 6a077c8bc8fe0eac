"""Labels chosen by their scores: what classification and closed question answering share."""

import numpy as np
from jaxtyping import Float

from braid.generation import Runtime
from braid.modalities import LabelsModality
from braid.records import Batch, Prediction

LEAST = 0.5  # the probability from which one of several labels is given


def choose(runtime: Runtime, output: str, batch: Batch, temperature: float = 1.0) -> list[Prediction]:
    """The likeliest label of each row, its probability as confidence, and every label's probability as ``scores``.

    Where a row may have several labels, ``label`` lists those of probability 0.5 or more, and confidence is the chance that
    exactly these are right, labels taken as independent. Logits are divided by ``temperature`` (arXiv:1706.04599).
    """
    modality = runtime.outputs[output]
    assert isinstance(modality, LabelsModality)
    logits = runtime.vector(output, batch) / temperature
    multiple = modality.config.multiple
    chances = 1 / (1 + np.exp(-logits)) if multiple else _softmax(logits)
    return [
        _several(identity, modality.labels, row) if multiple else _one(identity, modality.labels, row)
        for identity, row in zip(batch.ids, chances, strict=True)
    ]


def _one(identity: str, labels: tuple[str, ...], chances: Float[np.ndarray, " labels"]) -> Prediction:
    best = int(chances.argmax())
    scores = dict(zip(labels, chances.tolist(), strict=True))
    return Prediction(identity, text=labels[best], label=labels[best], scores=scores, confidence=float(chances[best]))


def _several(identity: str, labels: tuple[str, ...], chances: Float[np.ndarray, " labels"]) -> Prediction:
    given = tuple(label for label, chance in zip(labels, chances, strict=True) if chance >= LEAST)
    named = ", ".join(given)
    sure = float(np.maximum(chances, 1 - chances).prod())
    scores = dict(zip(labels, chances.tolist(), strict=True))
    return Prediction(identity, text=named, label=named, scores=scores, confidence=sure, labels=given)


def _softmax(logits: Float[np.ndarray, "batch labels"]) -> Float[np.ndarray, "batch labels"]:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
