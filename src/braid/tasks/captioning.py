"""Captioning: an image -> a sentence, scored by the official caption metrics."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from braid.errors import UserError
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
from braid.tasks.hints import Hints, with_hints
from braid.tasks.protocol import TaskProtocol, inputs_of, need_inputs

LONGEST_NAME, MOST_LANGUAGES = 20, 100  # characters of a language's name, and languages of a model
QUALITY = "cider-2015"  # the metric that says whether a single caption is good; confidence is calibrated on it


@dataclass(frozen=True)
class Captioning(TaskProtocol):
    """An input, such as an image, gets a sentence that describes it.

    In a row with an ``instruction``, the model reads that instead of the prompt, and captions describe the edited image.

    Rows may say the ``language`` of their captions. Each caption then begins with the name of its language, so that the name
    chooses the language that a trained model writes in.

    Args:
        prompt: what a model with a text encoder reads beside the image; "" gives it nothing to read.
        generation: how a caption is searched for.
        languages: those that the model writes, by the names that the training rows give them; the first is the usual one.
        language: of rows that say none; "" is the usual one.
        hints: labels that may say what an unsure caption does not; null gives none.
        calibration: turns the mean token probability into the probability that a caption is good; null leaves it.
        calibrations: those of languages that have their own, by language.
    """

    kind: Literal["captioning"] = "captioning"
    prompt: str = "describe the picture"
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    languages: tuple[str, ...] = ()
    language: str = ""
    hints: Hints | None = None
    calibration: Calibration | None = None
    calibrations: dict[str, Calibration] = field(default_factory=dict)

    decoder: ClassVar[str] = "text"
    main_metric: ClassVar[str] = "cider"
    per_sample_metric: ClassVar[str] = "cider"
    objectives: ClassVar[tuple[str, ...]] = ("likelihood", "self_critical")
    target_fields: ClassVar[tuple[str, ...]] = ("captions",)
    setting_fields: ClassVar[tuple[str, ...]] = ("language",)
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
        language = self._language_of(example)
        targets = tuple(f"{language} {caption}" for caption in captions) if language else captions
        return Sample(example.id, inputs, {self.decoder: targets} if captions else {}, captions, example.source, language)

    def _language_of(self, example: Example) -> str:
        """The language of a row; "" if the model knows no languages by name.

        Raises:
            UserError: naming the row, when the model does not write its language.
        """
        if not self.languages:
            return ""
        language = str(example.fields.get("language", "")) or self.language or self.languages[0]
        if language not in self.languages:
            raise UserError(f"{example.source}: {_unknown(language, self.languages)}")
        return language

    def speaking(self, language: str) -> "Captioning":
        """The task in one of its languages.

        Raises:
            UserError: when it is none of them.
        """
        if language not in self.languages:
            raise UserError(_unknown(language, self.languages))
        return replace(self, language=language)

    def fitted_to(self, examples: Iterable[Example]) -> "Captioning":
        if self.languages:
            return self
        named: Counter[str] = Counter()
        for example in examples:
            if language := example.fields.get("language"):
                named[language] += 1
                if named[language] == 1 and (len(language) > LONGEST_NAME or len(named) > MOST_LANGUAGES):
                    fault = "is no short name of a language" if len(named) <= MOST_LANGUAGES else "is one language too many"
                    left_out = "name the language as in en or zh, or leave the column out with --columns language="
                    raise UserError(f"{example.source}: {language[:LONGEST_NAME]!r} {fault}; {left_out}")
        return replace(self, languages=tuple(language for language, _ in named.most_common()))

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        captions = self._written(runtime, batch)
        return with_hints(self.hints, runtime, batch, captions, partial(self._written, runtime)) if self.hints else captions

    def _written(self, runtime: Runtime, batch: Batch) -> list[Prediction]:
        result = runtime.write(self.decoder, batch, self.generation)
        fits = [self._calibration_of(language) for language in batch.languages or [""] * batch.size]
        pairs = zip(result, fits, strict=True)
        return [replace(one, confidence=fit.probability(one.confidence)) if fit else one for one, fit in pairs]

    def _calibration_of(self, language: str) -> Calibration | None:
        return self.calibrations.get(language, self.calibration)

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """Corpus metrics x100 and ``num_samples`` (see ``braid.metrics``); for confidence ``aurc``, and ``ece`` with a
        calibration, which makes it a probability."""
        scores = _scores(predictions, samples, tokenizer)
        decisions = self._decisions(predictions, samples, scores)
        own = self._by_language(scores, samples)
        calibrated = all(self._calibration_of(sample.language) for sample in samples)
        return scores.metrics | own | {"aurc": decisions.aurc} | ({"ece": decisions.ece} if calibrated else {})

    def _by_language(self, scores: CaptionScores, samples: Sequence[Sample]) -> dict[str, float]:
        """The main metric of each language, where rows have several."""
        ciders: dict[str, list[float]] = defaultdict(list)
        for cider, sample in zip(scores.column(self.main_metric), samples, strict=True):
            ciders[sample.language].append(float(cider))
        return {f"{self.main_metric}_{name}": float(np.mean(own)) for name, own in ciders.items() if len(ciders) > 1}

    def variety(self, texts: Sequence[str], training: Iterable[Example], tokenizer: str = "auto") -> Mapping[str, float]:
        """How varied captions are, and how many of them training did not have."""
        known = (text for example in training for text in example.fields.get("captions", ()))
        return caption_diversity(texts, known, tokenizer)

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        of_rows = caption_remarks([sample.references for sample in samples], tokenizer)
        languages = dict.fromkeys(sample.language for sample in samples)
        written = chosen_tokenizer("auto", (one.text or "" for one in predictions))
        wanted = chosen_tokenizer("auto", (text for sample in samples for text in sample.references))
        if len(languages) == 1 and len(self.languages) > 1 and written != wanted:
            said = f"captions are written in {next(iter(languages))!r}, and those of these rows in another script"
            of_rows.append(f"{said}; choose one of {', '.join(self.languages)} with --language, or by a column 'language'")
        return of_rows

    def compared(self, samples: Sequence[Sample], tokenizer: str = "auto") -> str:
        name = chosen_tokenizer(tokenizer, (text for sample in samples for text in sample.references))
        if len(dict.fromkeys(sample.language for sample in samples)) > 1:
            return "captions of each language are compared by themselves"
        by = {"ptb": "word by word", "characters": "character by character"}.get(name, "as they are split by spaces")
        why = ", because most of them have no spaces" if tokenizer == "auto" and name == "characters" else ""
        return f"captions are compared {by} (tokenizer {name}){why}"

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """CIDEr of each row, x100, with the document frequencies of all rows."""
        return _scores(predictions, samples).column(self.per_sample_metric)

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Decisions:
        """A caption is correct if its ``cider-2015`` is above the calibration's threshold, or above the median without one."""
        return self._decisions(predictions, samples, _scores(predictions, samples, tokenizer))

    def report(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> dict[str, Any]:
        return {"decisions": self.decisions(predictions, samples, tokenizer)}

    def _decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], scores: CaptionScores) -> Decisions:
        quality = scores.column(QUALITY)
        fits = [self._calibration_of(sample.language) for sample in samples]
        thresholds = np.array([fit.threshold if fit else np.median(quality) for fit in fits], np.float64)
        return Decisions(np.array([one.confidence for one in predictions], np.float64), quality > thresholds)

    @property
    def unfitted(self) -> "Captioning":
        """The task without calibration and hints: confidence is the mean probability of a caption's tokens."""
        return replace(self, calibration=None, calibrations={}, hints=None)

    def fitted(self, calibration: Calibration) -> "Captioning":
        """The task with a calibration: of the language that it was told to speak, or of all."""
        if self.language in ("", *self.languages[:1]):
            return replace(self, calibration=calibration)
        return replace(self, calibrations={**self.calibrations, self.language: calibration}, language="")

    def outcomes(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> TextOutcomes:
        """The data for a calibration, from predictions of ``unfitted``, with the document frequencies of all rows."""
        sure = np.array([one.confidence for one in predictions], np.float64)
        return TextOutcomes(sure, _scores(predictions, samples, tokenizer).column(QUALITY))


def _scores(predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> CaptionScores:
    """The scores of all rows; each language has its own words and document frequencies."""
    rows: dict[str, list[str]] = defaultdict(list)  # by row number, because rows may share an id
    for row, sample in enumerate(samples):
        rows[sample.language].append(str(row))
    parts = []
    for numbers in rows.values():
        texts = {row: predictions[int(row)].text or "" for row in numbers}
        parts.append(score_captions(texts, {row: samples[int(row)].references for row in numbers}, tokenizer))
    return parts[0] if len(parts) == 1 else _joined(parts, [str(row) for row in range(len(samples))])


def _joined(parts: Sequence[CaptionScores], order: Sequence[str]) -> CaptionScores:
    """Several corpora as one. ``order``: the ids of all."""
    place = {key: k for k, key in enumerate(key for part in parts for key in part.ids)}
    rows = [place[key] for key in order]
    statistics, averaged = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bleu_statistics", "averaged"))
    return CaptionScores(tuple(order), statistics[rows], averaged[rows])


def _unknown(language: str, known: Sequence[str]) -> str:
    if not known:
        return (
            f"the model was trained without named languages, so it cannot be told to write {language!r}; leave the language out"
        )
    return f"the model does not write {language!r}; its languages are {', '.join(known)}"
