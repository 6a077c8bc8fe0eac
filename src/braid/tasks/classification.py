"""Classification: any inputs (an image, a text, a table row) -> one label, or several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from braid.config import within
from braid.generation import Runtime
from braid.generation.images import StepWatch
from braid.metrics import Decisions, LabelOutcomes, LabelScores, score_label_sets, score_labels
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.label_selection import choose, exclusive, label_outcomes
from braid.tasks.protocol import TaskProtocol, inputs_of, need_inputs, same_truth


@dataclass(frozen=True)
class Classification(TaskProtocol):
    """A row gets one label, or several. The text, or the instruction if a row has one, is read as the prompt.

    Args:
        temperature: divides the logits (arXiv:1706.04599), so that confidence is the probability of being right.
    """

    kind: Literal["classification"] = "classification"
    temperature: float = 1.0

    decoder: ClassVar[str] = "label"
    main_metric: ClassVar[str] = "macro-f1"
    per_sample_metric: ClassVar[str] = "accuracy"
    target_fields: ClassVar[tuple[str, ...]] = ("label", "labels")
    confident: ClassVar[bool] = True
    labels_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within(self, 1e-6, 1e6, "temperature")

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return inputs_of(fields, "text", "instruction")

    def has_several_labels(self, examples: Iterable[Example]) -> bool:
        return any(isinstance(row.fields.get("label"), tuple) for row in examples)

    def prepare(self, example: Example) -> Sample:
        """All inputs of a row are used. A row without a label is for prediction only.

        A tuple holds several labels; an empty one means that no label applies.
        """
        inputs = self.inputs_of(example.fields)
        need_inputs(inputs, example, self.kind, "image", "text")
        if "label" not in example.fields:
            return Sample(example.id, inputs, source=example.source)
        label = example.fields["label"]
        labels = (label,) if isinstance(label, str) else tuple(label)
        return Sample(example.id, inputs, {self.decoder: labels}, labels, example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        return choose(runtime, self.decoder, batch, self.temperature)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """x100: ``accuracy``, ``macro-f1``, ``micro-f1``, ``auroc``, ``ece`` and ``aurc``; a label that training did not have
        counts as an error."""
        return self.by_label(predictions, samples)[1].metrics

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        return same_truth(samples, "label", "a model that knows no other label scores 100")

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for a row with every label right, else 0."""
        return 100.0 * self.by_label(predictions, samples)[1].correct_rows

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Decisions:
        """One decision per row, or one per label of a row if rows may have several labels."""
        return self.by_label(predictions, samples)[1].decisions

    def by_label(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> tuple[tuple[str, ...], LabelScores]:
        """The labels (those of the model, then those that only the samples have), and the scores in this order."""
        known = dict.fromkeys(predictions[0].scores)
        labels = tuple(known | dict.fromkeys(label for sample in samples for label in sample.references))
        probabilities = np.array([[prediction.scores.get(label, 0.0) for label in labels] for prediction in predictions])
        place = {label: number for number, label in enumerate(labels)}
        if exclusive(probabilities) and all(len(sample.references) == 1 for sample in samples):
            return labels, score_labels(probabilities, np.array([place[sample.references[0]] for sample in samples]))
        truth = np.zeros(probabilities.shape, bool)
        for row, sample in enumerate(samples):
            truth[row, [place[label] for label in sample.references]] = True
        return labels, score_label_sets(probabilities, truth)

    def report(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> dict[str, Any]:
        labels, scores = self.by_label(predictions, samples)
        return {"decisions": scores.decisions, "labels": labels, "scores": scores}

    @property
    def unfitted(self) -> "Classification":
        """The task with temperature 1."""
        return replace(self, temperature=1.0)

    def fitted(self, temperature: float) -> "Classification":
        return replace(self, temperature=temperature)

    def outcomes(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> LabelOutcomes:
        """The data for fitting a temperature, from predictions of ``unfitted``."""
        right = self.items(predictions, samples) > 0
        return label_outcomes(predictions, [sample.references for sample in samples], right)
