"""Captioning: a picture -> a sentence, scored by the official caption metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float

from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime
from braid.metrics import Calibration, CaptionScores, score_captions
from braid.records import Batch, Example, Prediction, Sample


@dataclass(frozen=True)
class Captioning:
    """``prompt`` is what the text encoder of a model reads that has one; "" gives it nothing to read. With a ``calibration``,
    confidence is the chance that a caption is good; without, the mean probability of its tokens."""

    kind: Literal["captioning"] = "captioning"
    prompt: str = "describe the picture"
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    calibration: Calibration | None = None

    decoder: ClassVar[str] = "text"
    best: ClassVar[str] = "cider-d"
    by_row: ClassVar[str] = "cider-d"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    def prepare(self, example: Example) -> Sample:
        """Captions, where there are any, become one group of targets and the references."""
        if "image" not in example.fields:
            raise UserError(f"{example.source}: captioning needs an image; map its column with --columns image=NAME")
        captions = tuple(example.fields.get("captions", ()))
        inputs = {"image": example.fields["image"], **({"prompt": self.prompt} if self.prompt else {})}
        return Sample(example.id, inputs, {self.decoder: captions} if captions else {}, captions, example.source)

    def predict(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        found = runtime.write(self.decoder, batch, self.generation)
        if self.calibration is None:
            return found
        return [replace(prediction, confidence=self.calibration.chance(prediction.confidence)) for prediction in found]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> Mapping[str, float]:
        """Corpus figures x100 and ``num_samples``; see ``braid.metrics``."""
        return _scores(predictions, samples, tokenizer).figures

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """CIDEr-D of each row, x100; document frequencies are those of all rows."""
        return np.array([one[self.by_row] for one in _scores(predictions, samples).items.values()], np.float64)


def _scores(predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "ptb") -> CaptionScores:
    # By place, not by id: rows that share an id are scored each.
    texts = {str(row): prediction.text or "" for row, prediction in enumerate(predictions)}
    references = {str(row): sample.references for row, sample in enumerate(samples)}
    return score_captions(texts, references, tokenizer)
