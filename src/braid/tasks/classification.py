"""Classification: a picture, a text or both -> a label, or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from braid.choosing import choose
from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import LabelScores, score_label_sets, score_labels
from braid.records import Batch, Example, Prediction, Sample


@dataclass(frozen=True)
class Classification:
    """The text, where a row has one, is read as the prompt. Confidence is the label's probability: softmax of the logits over
    ``temperature`` (arXiv:1706.04599)."""

    kind: Literal["classification"] = "classification"
    temperature: float = 1.0

    decoder: ClassVar[str] = "label"
    generation: ClassVar[None] = None
    best: ClassVar[str] = "macro-f1"
    by_row: ClassVar[str] = "accuracy"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    needs: ClassVar[tuple[str, ...]] = ("label",)
    asked: ClassVar[tuple[str, ...]] = ("label", "labels")

    def prepare(self, example: Example) -> Sample:
        """Whichever of picture and text a row has are its inputs; a row without a label can be answered, not learned from.

        A tuple holds several labels; an empty one says that none is the row's.
        """
        inputs = {name: example.fields[role] for name, role in (("image", "image"), ("prompt", "text")) if role in example.fields}
        if not inputs:
            raise UserError(
                f"{example.source}: classification needs an image or a text; map its column with --columns image=NAME,text=NAME"
            )
        if "label" not in example.fields:
            return Sample(example.id, inputs, source=example.source)
        label = example.fields["label"]
        labels = (label,) if isinstance(label, str) else tuple(label)
        return Sample(example.id, inputs, {self.decoder: labels}, labels, example.source)

    def predict(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        return choose(runtime, self.decoder, batch, self.temperature)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Mapping[str, float]:
        """x100: ``accuracy``, ``macro-f1``, ``micro-f1``, ``auroc``, ``ece``; labels that training never showed are missed."""
        return _scores(predictions, samples).figures

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for a row that is right in every label, else 0."""
        return 100.0 * _scores(predictions, samples).outcomes[:, -1]


def _scores(predictions: Sequence[Prediction], samples: Sequence[Sample]) -> LabelScores:
    known = dict.fromkeys(predictions[0].scores)
    labels = list(known | dict.fromkeys(label for sample in samples for label in sample.references))
    chances = np.array([[prediction.scores.get(label, 0.0) for label in labels] for prediction in predictions])
    place = {label: number for number, label in enumerate(labels)}
    several = any(len(sample.references) != 1 for sample in samples)
    if several or not np.allclose(chances.sum(1), 1, atol=1e-3):  # labels that do not exclude each other
        truth = np.zeros(chances.shape, bool)
        for row, sample in enumerate(samples):
            truth[row, [place[label] for label in sample.references]] = True
        return score_label_sets(chances, truth)
    return score_labels(chances, np.array([place[sample.references[0]] for sample in samples]))
