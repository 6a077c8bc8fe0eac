"""Language modelling: the text decoder alone, with no input at all; used to pre-train the text side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime, score_text
from braid.records import Batch, Example, Prediction, Sample


@dataclass(frozen=True)
class LanguageModelling:
    """Text to text: ``braid complete`` continues a prefix. Captions serve as text, too."""

    kind: Literal["language_modelling"] = "language_modelling"
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    decoder: ClassVar[str] = "text"
    best: ClassVar[str] = "perplexity"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    needs: ClassVar[tuple[str, ...]] = ("text",)

    def prepare(self, example: Example) -> Sample:
        texts = tuple(example.fields.get("captions", ())) or (example.fields.get("text", ""),)
        if not any(texts):
            raise UserError(f"{example.source}: language modelling needs text; map its column with --columns text=NAME")
        return Sample(example.id, {}, {self.decoder: texts}, texts, example.source)

    def predict(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        """The probability of every token of the batch's own texts."""
        return score_text(runtime.decoder(self.decoder), batch, self.decoder)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Mapping[str, float]:
        """``perplexity`` a token, <eos> included: exp of the mean negative log-probability."""
        nats = [-math.log(max(p, 1e-30)) for prediction in predictions for p in prediction.token_probabilities]
        return {"perplexity": math.exp(sum(nats) / max(len(nats), 1)), "num_samples": float(len(predictions))}
