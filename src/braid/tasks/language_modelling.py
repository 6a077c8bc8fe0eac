"""Language modelling: the text decoder alone, without inputs; it pre-trains the decoder on text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime, score_text
from braid.generation.images import StepWatch
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol


@dataclass(frozen=True)
class LanguageModelling(TaskProtocol):
    """Text to text: ``braid complete`` continues a prefix. Captions serve as text, too.

    Args:
        generation: how a continuation is searched for.
    """

    kind: Literal["language_modelling"] = "language_modelling"
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    decoder: ClassVar[str] = "text"
    main_metric: ClassVar[str] = "perplexity"
    per_sample_metric: ClassVar[str] = "log-perplexity"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    unit: ClassVar[str] = "value"

    def prepare(self, example: Example) -> Sample:
        texts = tuple(example.fields.get("captions", ())) or (example.fields.get("text", ""),)
        if not any(texts) and "image" in example.fields:  # an image without text among rows with texts
            return Sample(example.id, {}, source=example.source)
        if not any(texts):
            raise UserError(f"{example.source}: language modelling needs text; map its column with --columns text=NAME")
        return Sample(example.id, {}, {self.decoder: texts}, texts, example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """The probability of every token of the batch's target texts."""
        return score_text(runtime.decoder(self.decoder), batch, self.decoder)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """``perplexity`` per token, <eos> included: exp of the mean negative log-probability."""
        nats = [one for prediction in predictions for one in _nats(prediction)]
        return {"perplexity": math.exp(sum(nats) / max(len(nats), 1)), "num_samples": float(len(predictions))}

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """The nats of each row divided by the mean number of tokens per row, so that their mean is the logarithm of
        perplexity."""
        nats = [_nats(prediction) for prediction in predictions]
        return np.array([sum(row) for row in nats]) * len(nats) / max(sum(map(len, nats)), 1)


def _nats(prediction: Prediction) -> list[float]:
    return [-math.log(max(p, 1e-30)) for p in prediction.token_probabilities]
