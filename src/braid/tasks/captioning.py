"""Captioning: an image -> a sentence, scored by the official caption metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from braid.generation import GenerationConfig, Runtime
from braid.generation.images import StepWatch
from braid.metrics import (
    Calibration,
    CaptionScores,
    Decisions,
    TextOutcomes,
    caption_diversity,
    caption_remarks,
    chosen_tokenizer,
    score_captions,
)
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol, inputs_of, need_inputs

QUALITY = "cider-2015"  # the metric that says whether a single caption is good; confidence is calibrated on it


@dataclass(frozen=True)
class Captioning(TaskProtocol):
    """An input, such as an image, gets a sentence that describes it.

    In a row with an ``instruction``, the model reads that instead of the prompt, and captions describe the edited image.

    Args:
        prompt: what a model with a text encoder reads beside the image; "" gives it nothing to read.
        generation: how a caption is searched for.
        calibration: turns the mean token probability into the probability that a caption is good; null leaves it.
    """

    kind: Literal["captioning"] = "captioning"
    prompt: str = "describe the picture"
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    calibration: Calibration | None = None

    decoder: ClassVar[str] = "text"
    main_metric: ClassVar[str] = "cider"
    per_sample_metric: ClassVar[str] = "cider"
    objectives: ClassVar[tuple[str, ...]] = ("likelihood", "self_critical")
    target_fields: ClassVar[tuple[str, ...]] = ("captions",)
    parity_metric: ClassVar[str] = "cider"
    confident: ClassVar[bool] = True

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        inputs = inputs_of(fields, "instruction")
        return ({"prompt": self.prompt} if self.prompt else {}) | inputs

    def prepare(self, example: Example) -> Sample:
        """The captions of a row become a group of targets and the references."""
        inputs = self.inputs_of(example.fields)
        need_inputs({name for name in inputs if name != "prompt"}, example, self.kind, "image")
        captions = tuple(example.fields.get("captions", ()))
        return Sample(example.id, inputs, {self.decoder: captions} if captions else {}, captions, example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        result = runtime.write(self.decoder, batch, self.generation)
        if self.calibration is None:
            return result
        return [replace(prediction, confidence=self.calibration.probability(prediction.confidence)) for prediction in result]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """Corpus metrics x100 and ``num_samples`` (see ``braid.metrics``); for confidence ``aurc``, and ``ece`` with a
        calibration, which makes it a probability."""
        scores = _scores(predictions, samples, tokenizer)
        decisions = self._decisions(predictions, scores)
        return scores.metrics | {"aurc": decisions.aurc} | ({"ece": decisions.ece} if self.calibration else {})

    def variety(self, texts: Sequence[str], training: Iterable[Example], tokenizer: str = "auto") -> Mapping[str, float]:
        """How varied captions are, and how many of them training did not have."""
        known = (text for example in training for text in example.fields.get("captions", ()))
        return caption_diversity(texts, known, tokenizer)

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        return caption_remarks([sample.references for sample in samples], tokenizer)

    def compared(self, samples: Sequence[Sample], tokenizer: str = "auto") -> str:
        name = chosen_tokenizer(tokenizer, (text for sample in samples for text in sample.references))
        by = {"ptb": "word by word", "characters": "character by character"}.get(name, "as they are split by spaces")
        why = ", because most of them have no spaces" if tokenizer == "auto" and name == "characters" else ""
        return f"captions are compared {by} (tokenizer {name}){why}"

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """CIDEr of each row, x100, with the document frequencies of all rows."""
        return _scores(predictions, samples).column(self.per_sample_metric)

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Decisions:
        """A caption is correct if its ``cider-2015`` is above the calibration's threshold, or above the median without one."""
        return self._decisions(predictions, _scores(predictions, samples, tokenizer))

    def report(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> dict[str, Any]:
        return {"decisions": self.decisions(predictions, samples, tokenizer)}

    def _decisions(self, predictions: Sequence[Prediction], scores: CaptionScores) -> Decisions:
        threshold = self.calibration.threshold if self.calibration else np.median(scores.column(QUALITY))
        return Decisions(np.array([one.confidence for one in predictions], np.float64), scores.column(QUALITY) > threshold)

    @property
    def unfitted(self) -> "Captioning":
        """The task without calibration: confidence is the mean probability of a caption's tokens."""
        return replace(self, calibration=None)

    def fitted(self, calibration: Calibration) -> "Captioning":
        return replace(self, calibration=calibration)

    def outcomes(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> TextOutcomes:
        """The data for a calibration, from predictions of ``unfitted``, with the document frequencies of all rows."""
        sure = np.array([one.confidence for one in predictions], np.float64)
        return TextOutcomes(sure, _scores(predictions, samples, tokenizer).column(QUALITY))


def _scores(predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> CaptionScores:
    # Keyed by row number, because rows may share an id.
    texts = {str(row): prediction.text or "" for row, prediction in enumerate(predictions)}
    references = {str(row): sample.references for row, sample in enumerate(samples)}
    return score_captions(texts, references, tokenizer)
