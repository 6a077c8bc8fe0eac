"""Visual question answering: a picture and a question -> a short answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from braid.choosing import choose
from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime
from braid.metrics import exact_match, score_answers
from braid.records import Batch, Example, Prediction, Sample


@dataclass(frozen=True)
class VisualQuestionAnswering:
    """The question is the prompt. The answer is written word by word, or, if ``closed``, chosen among the answers of training.

    ``temperature`` divides the scores that a closed answer is chosen by (arXiv:1706.04599).
    """

    kind: Literal["vqa"] = "vqa"
    closed: bool = False
    temperature: float = 1.0
    generation: GenerationConfig = field(default_factory=lambda: GenerationConfig(method="greedy", max_length=12))

    best: ClassVar[str] = "accuracy"
    by_row: ClassVar[str] = "accuracy"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    needs: ClassVar[tuple[str, ...]] = ("image", "question")

    @property
    def decoder(self) -> str:
        return "answer" if self.closed else "text"

    def prepare(self, example: Example) -> Sample:
        """The first answer is the target; every answer is a reference."""
        missing = [role for role in self.needs if role not in example.fields]
        if missing:
            raise UserError(
                f"{example.source}: vqa needs {' and '.join(missing)}; map the column with --columns {missing[0]}=NAME"
            )
        answers = tuple(example.fields.get("answers", ()))
        inputs = {"image": example.fields["image"], "prompt": example.fields["question"]}
        return Sample(example.id, inputs, {self.decoder: answers[:1]} if answers else {}, answers, example.source)

    def predict(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        if self.closed:
            return choose(runtime, self.decoder, batch, self.temperature)
        return runtime.write(self.decoder, batch, self.generation)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Mapping[str, float]:
        """x100: ``accuracy`` (exact match of a whole answer) and the official ``vqa-accuracy``."""
        return score_answers([one.text or "" for one in predictions], [sample.references for sample in samples]).figures

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """100 for an answer that matches one of the row's exactly, else 0."""
        pairs = zip(predictions, samples, strict=True)
        return 100.0 * np.array([exact_match(one.text or "", sample.references) for one, sample in pairs], np.float64)
