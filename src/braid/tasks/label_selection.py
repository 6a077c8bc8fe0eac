"""Labels chosen by their scores: what classification and closed question answering share."""

from collections.abc import Sequence

import numpy as np

from braid.generation import Runtime
from braid.metrics import LabelOutcomes
from braid.modalities import LabelsModality
from braid.records import Batch, Prediction
from braid.shapes import Bool, Float

TINY = 1e-300  # a probability whose logarithm is finite
LEAST = 0.5  # the probability from which one of several labels is given


def choose(runtime: Runtime, output: str, batch: Batch, temperature: float = 1.0) -> list[Prediction]:
    """The likeliest label of each row, its probability as confidence, and every label's probability as ``scores``.

    Where a row may have several labels, ``label`` lists those of probability 0.5 or more, and confidence is the chance that
    exactly these are right, labels taken as independent. Logits are divided by ``temperature`` (arXiv:1706.04599).
    """
    modality = runtime.outputs[output]
    assert isinstance(modality, LabelsModality)
    logits = runtime.vector(output, batch).astype(np.float64) / temperature
    multiple = modality.config.multiple
    probabilities = 1 / (1 + np.exp(-logits)) if multiple else _softmax(logits)
    return [
        _several(identity, modality.labels, row) if multiple else _one(identity, modality.labels, row)
        for identity, row in zip(batch.ids, probabilities, strict=True)
    ]


def exclusive(probabilities: Float[np.ndarray, "rows labels"]) -> bool:
    """Whether each row has one label: then its probabilities sum to 1."""
    return bool(np.allclose(probabilities.sum(1), 1, atol=1e-3))


def label_outcomes(
    predictions: Sequence[Prediction], wanted: Sequence[Sequence[str]], right: Bool[np.ndarray, " rows"]
) -> LabelOutcomes:
    """What a temperature is fitted on, from predictions made at temperature 1: log-probabilities are logits up to a constant.

    ``wanted`` are a row's labels, or other words for its one label: then the first that the model knows is meant. ``right``:
    whether the row is; where it may have several labels, each is right or wrong by itself, and those that the model does not
    know are left out.
    """
    labels = {label: place for place, label in enumerate(predictions[0].scores)}
    probabilities = np.array([list(prediction.scores.values()) for prediction in predictions], np.float64)
    multiple = not exclusive(probabilities)
    truth = np.zeros(probabilities.shape, bool)
    for row, names in enumerate(wanted):
        known = [labels[name] for name in names if name in labels]
        truth[row, known if multiple else known[:1]] = True
    logits = np.log(np.maximum(probabilities, TINY))
    if multiple:
        return LabelOutcomes(
            logits - np.log(np.maximum(1 - probabilities, TINY)), truth, (probabilities >= LEAST) == truth, multiple
        )
    return LabelOutcomes(logits, truth, right[:, None], multiple)


def _one(identity: str, labels: tuple[str, ...], probabilities: Float[np.ndarray, " labels"]) -> Prediction:
    best = int(probabilities.argmax())
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    return Prediction(identity, text=labels[best], label=labels[best], scores=scores, confidence=float(probabilities[best]))


def _several(identity: str, labels: tuple[str, ...], probabilities: Float[np.ndarray, " labels"]) -> Prediction:
    given = tuple(label for label, chance in zip(labels, probabilities, strict=True) if chance >= LEAST)
    named = ", ".join(given)
    sure = float(np.maximum(probabilities, 1 - probabilities).prod())
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    return Prediction(identity, text=named, label=named, scores=scores, confidence=sure, labels=given)


def _softmax(logits: Float[np.ndarray, "batch labels"]) -> Float[np.ndarray, "batch labels"]:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
