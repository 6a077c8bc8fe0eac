"""Classification: a picture, a text or both -> a label, or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from braid.choosing import choose, exclusive, label_outcomes
from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import Decisions, LabelOutcomes, LabelScores, score_label_sets, score_labels
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float


@dataclass(frozen=True)
class Classification:
    """The text, or the instruction, where a row has one, is read as the prompt. Confidence is the label's probability: softmax of
    the logits over ``temperature`` (arXiv:1706.04599)."""

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
        roles = (("image", "image"), ("prompt", "text"), ("prompt", "instruction"))
        inputs = {name: example.fields[role] for name, role in roles if role in example.fields}
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
        """x100: ``accuracy``, ``macro-f1``, ``micro-f1``, ``auroc``, ``ece`` and ``aurc``; labels that training never showed are
        missed."""
        return self.by_label(predictions, samples)[1].metrics

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for a row that is right in every label, else 0."""
        return 100.0 * self.by_label(predictions, samples)[1].correct_rows

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Decisions:
        """One a row; where rows may have several labels, one for each label of a row."""
        return self.by_label(predictions, samples)[1].decisions

    def by_label(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> tuple[tuple[str, ...], LabelScores]:
        """The labels of the model, then those that only the samples have; and the scores, in their order."""
        known = dict.fromkeys(predictions[0].scores)
        labels = tuple(known | dict.fromkeys(label for sample in samples for label in sample.references))
        chances = np.array([[prediction.scores.get(label, 0.0) for label in labels] for prediction in predictions])
        place = {label: number for number, label in enumerate(labels)}
        if exclusive(chances) and all(len(sample.references) == 1 for sample in samples):
            return labels, score_labels(chances, np.array([place[sample.references[0]] for sample in samples]))
        truth = np.zeros(chances.shape, bool)
        for row, sample in enumerate(samples):
            truth[row, [place[label] for label in sample.references]] = True
        return labels, score_label_sets(chances, truth)

    @property
    def unfitted(self) -> "Classification":
        """With the probabilities that training left."""
        return replace(self, temperature=1.0)

    def fitted(self, temperature: float) -> "Classification":
        return replace(self, temperature=temperature)

    def outcomes(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> LabelOutcomes:
        """What a temperature is fitted on, from predictions of ``unfitted``."""
        right = self.items(predictions, samples) > 0
        return label_outcomes(predictions, [sample.references for sample in samples], right)
