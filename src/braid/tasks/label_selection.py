"""Label selection by probability, for classification and closed question answering."""

from collections.abc import Sequence

import numpy as np

from braid.generation import Runtime
from braid.metrics import LabelOutcomes
from braid.modalities import LabelsModality
from braid.records import Batch, Prediction
from braid.shapes import Bool, Float

TINY = 1e-300  # the smallest probability, so that its logarithm is finite
LEAST = 0.5  # the probability from which a label is predicted, if a row may have several


def choose(runtime: Runtime, output: str, batch: Batch, temperature: float = 1.0) -> list[Prediction]:
    """The most probable label of each row, its probability as confidence, and the probabilities of all labels as ``scores``.

    If a row may have several labels, ``label`` lists those with a probability of at least 0.5, and confidence is the probability
    that exactly these are right, with labels taken as independent. Logits are divided by ``temperature`` (arXiv:1706.04599).
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
    """Whether each row has exactly one label, so that its probabilities sum to 1."""
    return bool(np.allclose(probabilities.sum(1), 1, atol=1e-3))


def label_outcomes(
    predictions: Sequence[Prediction], references: Sequence[Sequence[str]], right: Bool[np.ndarray, " rows"]
) -> LabelOutcomes:
    """The data for fitting a temperature, from predictions at temperature 1: log-probabilities are logits up to a constant.

    Args:
        references: a row's labels, or synonyms of its one label, of which the first that the model knows counts.
        right: whether each row is right. If a row may have several labels, each label is right or wrong by itself, and labels
            that the model does not know are ignored.
    """
    labels = {label: place for place, label in enumerate(predictions[0].scores)}
    probabilities = np.array([list(prediction.scores.values()) for prediction in predictions], np.float64)
    multiple = not exclusive(probabilities)
    truth = np.zeros(probabilities.shape, bool)
    for row, names in enumerate(references):
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
    given = tuple(label for label, probability in zip(labels, probabilities, strict=True) if probability >= LEAST)
    named = ", ".join(given)
    sure = float(np.maximum(probabilities, 1 - probabilities).prod())
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    return Prediction(identity, text=named, label=named, scores=scores, confidence=sure, labels=given)


def _softmax(logits: Float[np.ndarray, "batch labels"]) -> Float[np.ndarray, "batch labels"]:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
