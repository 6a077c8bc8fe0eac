"""The subject of an explanation: a model, a row, and its answer (words, labels or a number) as differentiable scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from braid.collate import Collator
from braid.decoders import TextDecoder, VectorDecoder
from braid.errors import UserError
from braid.modalities import InputModality
from braid.model import Model
from braid.records import Batch, BatchInput, Features, Fused, Padded, Prediction, Sample, Units
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.shapes import Bool, Float, Int
from braid.tasks import Task

EXPLAINED = "choose a model that does captioning, vqa, classification or regression"
ROWS = 64  # perturbed rows per forward pass


@dataclass(frozen=True, eq=False)
class Written:
    """A generated text; each word is conditioned on the words before it. ``spans`` are the first and last index of each word's
    ``tokens``, which include <bos>."""

    decoder: TextDecoder
    tokens: Int[Tensor, " length"]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """Log-odds of each word, which still change when a probability is close to 1."""
        return self._by_word(_log_odds(self._logits(fused), self.tokens[1:]))

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """The probability of each word, in 0..1."""
        logs = self._logits(fused).log_softmax(-1)
        chosen = self.tokens[1:].expand(logs.shape[:-1]).unsqueeze(-1)
        return self._by_word(logs.gather(-1, chosen).squeeze(-1)).exp()

    def _logits(self, fused: Fused) -> Float[Tensor, "rows written vocab"]:
        tokens = self.tokens.expand(fused.values.shape[0], 1, -1)
        return self.decoder.logits(fused, tokens)[:, 0, :-1].float()

    def _by_word(self, values: Float[Tensor, "rows written"]) -> Float[Tensor, "rows words"]:
        """Sum the values of each word's tokens; token ``t`` is predicted at position ``t - 1``."""
        return torch.stack([values[:, first - 1 : last].sum(1) for first, last in self.spans], 1)

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        """The mean weights at the positions that predict each word; ``weights`` has one row for all words, or one per word."""
        rows = weights.expand(len(self.words), -1, -1)
        return torch.stack([rows[k, first - 1 : last].mean(0) for k, (first, last) in enumerate(self.spans)])


@dataclass(frozen=True, eq=False)
class Labelled:
    """The predicted labels of a row. ``multiple``: a row may have several labels."""

    decoder: VectorDecoder
    words: tuple[str, ...]
    places: Int[Tensor, " words"]
    multiple: bool

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """Log-odds of each label."""
        logits = self.decoder(fused).float()
        if self.multiple:
            return logits[:, self.places]
        return _log_odds(logits.unsqueeze(1).expand(-1, len(self.words), -1), self.places)

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        """The probability of each label, in 0..1."""
        logits = self.decoder(fused).float()
        return (logits.sigmoid() if self.multiple else logits.softmax(-1))[:, self.places]

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        return weights.mean(1).expand(len(self.words), -1)


@dataclass(frozen=True, eq=False)
class Measured:
    """A predicted number. Its score and its probability are both its distance from the mean, in standard deviations."""

    decoder: VectorDecoder
    words: tuple[str, ...]

    def scores(self, fused: Fused) -> Float[Tensor, "rows words"]:
        return self.decoder(fused).float()

    def probabilities(self, fused: Fused) -> Float[Tensor, "rows words"]:
        return self.scores(fused)

    def reading(self, weights: Float[Tensor, "_rows queries keys"]) -> Float[Tensor, "words keys"]:
        return weights.mean(1)


Answer = Labelled | Measured | Written


def _log_odds(logits: Float[Tensor, "rows asked choices"], chosen: Int[Tensor, " asked"]) -> Float[Tensor, "rows asked"]:
    """log(p / (1 - p)) of the chosen entry in each row of logits."""
    place = chosen.expand(logits.shape[:-1]).unsqueeze(-1)
    others = logits.scatter(-1, place, -torch.inf)
    return logits.gather(-1, place).squeeze(-1) - others.logsumexp(-1)


class NothingToExplain(UserError):
    """Raised when the model's answer has no word and no label."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """Scores by input, and a method's own checks."""

    values: dict[str, Float[np.ndarray, "outputs _units"]]
    checks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """One row and its answer. ``batch`` has tensors; ``features`` has the inputs in ``units``, and missing inputs."""

    model: Model
    batch: Batch
    answer: Answer
    output: str
    modalities: Mapping[str, InputModality]
    features: Mapping[str, Features]
    units: Mapping[str, Units]

    @property
    def num_outputs(self) -> int:
        return len(self.answer.words)

    def scores(self, features: Mapping[str, Features]) -> Float[Tensor, "rows outputs"]:
        """The answer's scores (log-odds of words and labels), with gradients."""
        return self.answer.scores(self.model.fuse(features))

    @torch.no_grad()
    def probabilities(self, features: Mapping[str, Features]) -> Float[np.ndarray, "rows outputs"]:
        """The answer's probabilities."""
        parts = [self.answer.probabilities(self.model.fuse(part)) for part in _parts(features)]
        return torch.cat(parts).double().cpu().numpy()

    @torch.no_grad()
    def scored(self, features: Mapping[str, Features]) -> Float[np.ndarray, "rows outputs"]:
        """``scores`` of many rows, without gradients."""
        return torch.cat([self.scores(part) for part in _parts(features)]).double().cpu().numpy()

    def leaves(self, rows: int) -> dict[str, Features]:
        """The features, repeated ``rows`` times, as leaves that take gradients."""
        return {name: repeated(one, rows, leaf=True) for name, one in self.features.items()}

    def gathered(
        self, positions: Mapping[str, Float[Tensor, "outputs _length"]]
    ) -> dict[str, Float[np.ndarray, "outputs _units"]]:
        """Convert scores of positions to scores of units; units at the same position share its score equally."""
        result = {}
        for name, units in self.units.items():
            owned = units.positions / units.positions.sum(0).clip(min=1)
            result[name] = (positions[name].detach().double() @ _tensor(owned, positions[name]).double().T).cpu().numpy()
        return result

    def masked(self, kept: Mapping[str, Bool[np.ndarray, "rows _units"]]) -> dict[str, Features]:
        """Features without the positions of removed units; other inputs are unchanged. Units that share positions are removed
        from the input instead."""
        rows = len(next(iter(kept.values())))
        result = {}
        for name, one in self.features.items():
            if name in kept and not self.units[name].separate:
                result[name] = self._encoded(name, kept[name])
                continue
            whole = repeated(one, rows)
            if name in kept:
                lost = _tensor(~kept[name], one.mask).float() @ _tensor(self.units[name].positions, one.mask).float() > 0
                whole = replace(whole, mask=whole.mask & ~lost)
            result[name] = whole
        return result

    def without(self, lost: Sequence[str]) -> dict[str, Features]:
        """The features of one row without some inputs."""
        return {
            name: replace(one, mask=torch.zeros_like(one.mask), values=torch.zeros_like(one.values), native=None)
            if name in lost
            else one
            for name, one in self.features.items()
        }

    @torch.no_grad()
    def perturbed(self, kept: Mapping[str, Bool[np.ndarray, "rows _units"]]) -> dict[str, Features]:
        """Features of inputs from which the modality removed the units that are not kept; other inputs are unchanged."""
        rows = len(next(iter(kept.values())))
        return {
            name: self._encoded(name, kept[name]) if name in kept else repeated(one, rows) for name, one in self.features.items()
        }

    @torch.no_grad()
    def _encoded(self, name: str, kept: Bool[np.ndarray, "rows units"]) -> Features:
        parts = []
        given, device = _arrays(self.batch.inputs[name].distinct), self.batch.inputs[name].index.device
        for first in range(0, len(kept), ROWS):
            some = kept[first : first + ROWS]
            changed = self.modalities[name].without(given, self.units[name], some)
            padded = Padded(torch.from_numpy(changed.values).to(device), torch.from_numpy(changed.mask).to(device))
            batch = Batch(("0",) * len(some), {name: BatchInput(padded, torch.arange(len(some), device=device))})
            parts.append(self.model.encode(batch)[name])
        length = max(part.mask.shape[1] for part in parts)
        grown = [_longer(part, length) for part in parts]
        native = torch.cat([one.native for one in parts if one.native is not None])
        values, mask = (torch.cat([getattr(one, name) for one in grown]) for name in ("values", "mask"))
        return Features(values, mask, parts[0].extent, native)


def subject_of(runtime: TorchRuntime, collator: Collator, task: Task, sample: Sample) -> tuple[Subject, Prediction]:
    """Get the model's answer for a sample, as the subject of explanations.

    Raises:
        UserError: when the row cannot be read, or the answer is not a text, a label or a number.
        NothingToExplain: when the model generates no text or no label.
    """
    output = task.decoder
    refusal = UserError(f"{task.kind} gives no words, label or number, so there is nothing to explain; {EXPLAINED}")
    if output not in runtime.outputs or runtime.outputs[output].does == "generates images":
        raise refusal
    model = runtime.model.eval()
    collated = collator([sample], strict=True)
    (prediction,) = task.predict(runtime, collated.batch)
    if prediction.text is None:
        raise refusal
    answer = _answer(runtime, output, prediction, sample.language)
    batch = to_tensors(collated.batch, runtime.device)
    with torch.no_grad():
        features = model.encode(batch)
    modalities = cast(Mapping[str, InputModality], collator.inputs)  # cached features are only used in training
    units = {
        name: _units(modalities[name], features[name], batch.inputs[name].distinct) for name in features if name in batch.inputs
    }
    if read := getattr(model.config.decoders[output], "input", ""):  # from the mean of the encoder's features alone
        units[read] = replace(units[read], positions=np.ones_like(units[read].positions))
    return Subject(model, batch, answer, output, modalities, features, units), prediction


def repeated(features: Features, rows: int, leaf: bool = False) -> Features:
    """One row's features, repeated ``rows`` times; with ``leaf``, a copy that takes gradients."""
    values = features.values.expand(rows, -1, -1)
    values = values.detach().clone().requires_grad_() if leaf else values
    native = None if features.native is None else features.native.expand(rows, -1)
    return Features(values, features.mask.expand(rows, -1), features.extent, native)


def _answer(runtime: TorchRuntime, output: str, prediction: Prediction, language: str) -> Answer:
    """The answer in a prediction: a number, labels, or a text, after the name of its ``language`` if it has one."""
    modality: Any = runtime.outputs[output]
    decoder: Any = runtime.model.decoders[output]
    if prediction.value is not None:
        return Measured(decoder, (f"{prediction.value:.4g}",))
    if prediction.label is not None:
        labels = (prediction.label,) if prediction.labels is None else prediction.labels
        if not labels:
            raise NothingToExplain("the model gave no label, so there is nothing to explain; try another row")
        places = torch.tensor([modality.labels.index(label) for label in labels], device=runtime.device)
        return Labelled(decoder, labels, places, prediction.labels is not None)
    text = prediction.text or ""
    tokens = modality.tokenizer.framed(f"{language} {text}" if language else text, modality.max_length)
    given = len(modality.tokenizer.encode(language))
    spans = [(first, last) for first, last in modality.tokenizer.words(tokens) if first > given]
    if not spans:
        raise NothingToExplain("the model wrote nothing, so there is nothing to explain; try another image or question")
    words = tuple(modality.tokenizer.decode(tokens[first : last + 1]) for first, last in spans)
    return Written(decoder, torch.tensor(tokens, device=runtime.device), words, tuple(spans))


def _units(modality: InputModality, features: Features, given: Padded) -> Units:
    extent = None if features.extent is None else features.extent.cpu().numpy()
    return modality.units(_arrays(given), features.mask[0].cpu().numpy(), extent)


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device)


def _arrays(given: Padded) -> Padded:
    return Padded(given.values.cpu().numpy(), given.mask.cpu().numpy())


def _longer(features: Features, length: int) -> Features:
    """Pad the features to a length with masked positions."""
    lacking = length - features.mask.shape[1]
    values = torch.nn.functional.pad(features.values, (0, 0, 0, lacking))
    return replace(features, values=values, mask=torch.nn.functional.pad(features.mask, (0, lacking)), extent=None)


def _parts(features: Mapping[str, Features]) -> Iterator[dict[str, Features]]:
    """Split the features into parts of at most ``ROWS`` rows."""
    rows = next(iter(features.values())).mask.shape[0]
    for first in range(0, rows, ROWS):
        yield {name: one.rows(slice(first, first + ROWS)) for name, one in features.items()}
