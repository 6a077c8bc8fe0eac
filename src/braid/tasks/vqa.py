"""Visual question answering: an image and a question -> a short answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime
from braid.generation.images import StepWatch
from braid.metrics import (
    ANSWER_TYPES,
    AnswerScores,
    Calibration,
    Decisions,
    LabelOutcomes,
    TextOutcomes,
    answer_type,
    exact_match,
    score_answers,
)
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.label_selection import choose, label_outcomes
from braid.tasks.protocol import TaskProtocol, inputs_of, same_truth


@dataclass(frozen=True)
class VisualQuestionAnswering(TaskProtocol):
    """A question about an image gets an answer. The question is the prompt.

    Args:
        closed: choose among the answers of training, instead of writing an answer word by word.
        temperature: divides the scores that a closed answer is chosen by (arXiv:1706.04599).
        calibration: turns the mean token probability into the probability that a written answer is right; null leaves it.
        generation: how a written answer is searched for.
    """

    kind: Literal["vqa"] = "vqa"
    closed: bool = False
    temperature: float = 1.0
    calibration: Calibration | None = None
    generation: GenerationConfig = field(default_factory=lambda: GenerationConfig(method="greedy", max_length=12))

    main_metric: ClassVar[str] = "accuracy"
    per_sample_metric: ClassVar[str] = "accuracy"
    target_fields: ClassVar[tuple[str, ...]] = ("answer", "answers")
    confident: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within(self, 1e-6, 1e6, "temperature")

    @property
    def decoder(self) -> str:
        return "answer" if self.closed else "text"

    @property
    def method(self) -> str:
        return "no search" if self.closed else super().method

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return inputs_of(fields, "question")

    def prepare(self, example: Example) -> Sample:
        """The first answer is the target; every answer is a reference."""
        inputs = self.inputs_of(example.fields)
        missing = [*(["image"] if not inputs.keys() - {"prompt"} else []), *(["question"] if "prompt" not in inputs else [])]
        if missing:
            raise UserError(
                f"{example.source}: vqa needs {' and '.join(missing)}; map the column with --columns {missing[0]}=NAME"
            )
        answers = tuple(example.fields.get("answers", ()))
        return Sample(example.id, inputs, {self.decoder: answers[:1]} if answers else {}, answers, example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        if self.closed:
            return choose(runtime, self.decoder, batch, self.temperature)
        result = runtime.write(self.decoder, batch, self.generation)
        if self.calibration is None:
            return result
        return [replace(prediction, confidence=self.calibration.probability(prediction.confidence)) for prediction in result]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """x100: ``accuracy`` (exact match of the whole answer), also by type of answer, and the official ``vqa-accuracy``. For
        confidence ``aurc``, and ``ece`` if it is a probability: for closed answers, or with a calibration."""
        scores, decisions = _scores(predictions, samples), self.decisions(predictions, samples)
        by_type = {f"accuracy/{kind}": one["accuracy"] for kind, one in self.by_type(predictions, samples).items()}
        sure = {"aurc": decisions.aurc} | ({"ece": decisions.ece} if self.closed or self.calibration else {})
        return scores.metrics | by_type | sure

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        return same_truth(samples, "answer", "a model that knows no other answer scores 100")

    def by_type(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
        """The metrics for each type of answer that occurs.

        A row has the type of its first answer, which is the most common one; the annotations of VQA do the same.
        """
        result = _scores(predictions, samples).by_type([answer_type(sample.references[0]) for sample in samples])
        return {kind: result[kind] for kind in ANSWER_TYPES if kind in result}

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for an answer that matches one of the row's exactly, else 0."""
        pairs = zip(predictions, samples, strict=True)
        return 100.0 * np.array([exact_match(one.text or "", sample.references) for one, sample in pairs], np.float64)

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Decisions:
        """An answer is right if it matches one of the row's answers exactly."""
        return Decisions(_confidences(predictions), self.items(predictions, samples) > 0)

    def report(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> dict[str, Any]:
        decisions = self.decisions(predictions, samples, tokenizer)
        return {"decisions": decisions, "by_type": self.by_type(predictions, samples)}

    @property
    def unfitted(self) -> "VisualQuestionAnswering":
        """The task with temperature 1 and without calibration."""
        return replace(self, temperature=1.0, calibration=None)

    def fitted(self, fit: Calibration | float) -> "VisualQuestionAnswering":
        return replace(self, calibration=fit) if isinstance(fit, Calibration) else replace(self, temperature=fit)

    def outcomes(
        self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto"
    ) -> LabelOutcomes | TextOutcomes:
        """The data for fitting a temperature or a calibration, from predictions of ``unfitted``."""
        scores = self.items(predictions, samples)
        if self.closed:
            return label_outcomes(predictions, [sample.references for sample in samples], scores > 0)
        return TextOutcomes(_confidences(predictions), scores, threshold=0.0)


def _scores(predictions: Sequence[Prediction], samples: Sequence[Sample]) -> AnswerScores:
    return score_answers([one.text or "" for one in predictions], [sample.references for sample in samples])


def _confidences(predictions: Sequence[Prediction]) -> Float[np.ndarray, " rows"]:
    return np.array([one.confidence for one in predictions], np.float64)
