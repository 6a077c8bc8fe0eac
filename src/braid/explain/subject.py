"""What a method explains: one row, the model's answer to it, and the two places at which it can be changed.

At ``Features``, after encoders and projections, any fusion and decoder can be differentiated and a position be masked; at the
input, patches of a picture can be painted over and words of a text be left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from braid.collate import Collator
from braid.errors import UserError
from braid.explain.answers import Answer, Labelled, Measured, Written
from braid.modalities import EncodedModality, ImageModality, InputModality, LabelsModality, NumberModality, TextModality
from braid.model import Model
from braid.records import Batch, BatchInput, Features, Padded, Prediction, Sample
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.shapes import Bool, Float
from braid.tasks import Task, decoders_of

EXPLAINED = "choose a model that does captioning, vqa, classification or regression"
ROWS = 64  # changed rows that go through a model at once


class NothingToExplain(UserError):
    """The model answered without a word or a label."""


@dataclass(frozen=True, eq=False)
class Units:
    """What an input is made of, to people: the patches of a picture, or the words of a text.

    ``boxes`` (left, top, right, bottom in 0..1) of patches, else None; ``spans`` (first and last token) of words. ``positions``:
    which positions of the features are a unit's; padding and tokens without a word are nobody's.
    """

    names: tuple[str, ...]
    positions: Bool[Tensor, "units length"]
    boxes: Float[np.ndarray, "units 4"] | None = None
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def number(self) -> int:
        return len(self.names)

    @property
    def cells(self) -> Bool[np.ndarray, " units"]:
        """What can be changed at the input: every word; of patches those of the finest grid, which covers the picture once."""
        if self.boxes is None:
            return np.ones(self.number, dtype=bool)
        areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        return np.asarray(areas < 1.01 * areas.min()) if len(areas) else np.zeros(0, dtype=bool)


@dataclass(frozen=True, eq=False)
class Attributed:
    """Scores by input, and what a method found about itself."""

    values: dict[str, Float[np.ndarray, "outputs _units"]]
    checks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """One row and its answer. ``batch`` holds tensors; ``features`` are those of ``units``' inputs and of any that is missing."""

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
        """The answer's scores (log-odds of words and labels), within autograd's graph."""
        return self.answer.scores(self.model.fuse(features))

    @torch.no_grad()
    def probabilities(self, features: Mapping[str, Features]) -> Float[np.ndarray, "rows outputs"]:
        """The answer's probabilities."""
        parts = [self.answer.probabilities(self.model.fuse(part)) for part in _parts(features)]
        return torch.cat(parts).double().cpu().numpy()

    @torch.no_grad()
    def scored(self, features: Mapping[str, Features]) -> Float[np.ndarray, "rows outputs"]:
        """``scores`` of many rows, outside of any graph."""
        return torch.cat([self.scores(part) for part in _parts(features)]).double().cpu().numpy()

    def leaves(self, rows: int) -> dict[str, Features]:
        """The features, ``rows`` times over, to differentiate at."""
        return {name: repeated(one, rows, leaf=True) for name, one in self.features.items()}

    def gathered(
        self, positions: Mapping[str, Float[Tensor, "outputs _length"]]
    ) -> dict[str, Float[np.ndarray, "outputs _units"]]:
        """Scores of positions as scores of units; positions that are nobody's count for nothing."""
        return {
            name: (positions[name].detach().double() @ units.positions.double().T).cpu().numpy()
            for name, units in self.units.items()
        }

    def masked(self, kept: Mapping[str, Bool[np.ndarray, "rows _units"]]) -> dict[str, Features]:
        """Features without the positions of the units that are not kept, as if a row lacked them; other inputs stay whole."""
        rows = len(next(iter(kept.values())))
        result = {}
        for name, one in self.features.items():
            whole = repeated(one, rows)
            if name in kept:
                lost = torch.from_numpy(~kept[name]).to(one.mask.device).float() @ self.units[name].positions.float() > 0
                whole = replace(whole, mask=whole.mask & ~lost)
            result[name] = whole
        return result

    def without(self, lost: Sequence[str]) -> dict[str, Features]:
        """The features of one row that lacks some inputs."""
        return {
            name: replace(one, mask=torch.zeros_like(one.mask), values=torch.zeros_like(one.values)) if name in lost else one
            for name, one in self.features.items()
        }

    @torch.no_grad()
    def perturbed(self, kept: Mapping[str, Bool[np.ndarray, "rows _units"]]) -> dict[str, Features]:
        """Features of the inputs without the units that are not kept; other inputs stay whole.

        Lost patches take the picture's mean colour, lost words are left out of their text.
        """
        rows = len(next(iter(kept.values())))
        return {
            name: self._encoded(name, kept[name]) if name in kept else repeated(one, rows) for name, one in self.features.items()
        }

    def _encoded(self, name: str, kept: Bool[np.ndarray, "rows units"]) -> Features:
        parts = []
        for first in range(0, len(kept), ROWS):
            some = kept[first : first + ROWS]
            changed = self._painted(name, some) if self.units[name].boxes is not None else self._shortened(name, some)
            index = torch.arange(len(some), device=changed.mask.device)
            batch = Batch(("0",) * len(some), {name: BatchInput(changed, index)})
            parts.append(self.model.encode(batch)[name])
        length = max(part.mask.shape[1] for part in parts)
        grown = [_longer(part, length) for part in parts]
        return Features(torch.cat([one.values for one in grown]), torch.cat([one.mask for one in grown]), parts[0].extent)

    def _painted(self, name: str, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        given, units = self.batch.inputs[name].distinct, self.units[name]
        pixels, real = given.values[:1], given.mask[:1]
        mean = (pixels * real.unsqueeze(1)).sum((2, 3), keepdim=True) / real.sum().clamp(min=1)
        assert units.boxes is not None
        size = np.array([pixels.shape[3], pixels.shape[2]] * 2)
        lost = np.zeros((len(kept), pixels.shape[2], pixels.shape[3]), dtype=bool)
        for unit in np.flatnonzero(units.cells):
            left, top, right, bottom = np.rint(units.boxes[unit] * size).astype(int)
            lost[:, top:bottom, left:right] |= ~kept[:, unit, None, None]
        changed = torch.from_numpy(lost).to(pixels.device) & real
        return Padded(torch.where(changed.unsqueeze(1), mean, pixels), real.expand(len(kept), -1, -1))

    def _shortened(self, name: str, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        given, modality = self.batch.inputs[name].distinct, self.modalities[name]
        assert isinstance(modality, TextModality)
        tokens = given.values[0][given.mask[0]].cpu().numpy()
        stays = np.ones((len(kept), len(tokens)), dtype=bool)
        for unit, (first, last) in enumerate(self.units[name].spans):
            stays[:, first : last + 1] &= kept[:, unit, None]
        padded = modality.pad([tokens[row] for row in stays])
        device = given.values.device
        return Padded(torch.from_numpy(padded.values).to(device), torch.from_numpy(padded.mask).to(device))


def subject_of(runtime: TorchRuntime, collator: Collator, task: Task, sample: Sample) -> tuple[Subject, Prediction]:
    """Let the model answer, and make its answer a subject.

    Raises:
        UserError: when the row cannot be read, or the task's answer is no text, label or number.
        NothingToExplain: when the model writes nothing or gives no label.
    """
    output = decoders_of(task)[0]
    if not isinstance(runtime.outputs.get(output), TextModality | LabelsModality | NumberModality):
        raise UserError(f"{task.kind} gives no words, label or number, so there is nothing to explain; {EXPLAINED}")
    model = runtime.model.eval()
    collated = collator([sample], strict=True)
    (prediction,) = task.predict(runtime, collated.batch)
    answer = _answer(runtime, output, prediction)
    batch = to_tensors(collated.batch, runtime.device)
    with torch.no_grad():
        features = model.encode(batch)
    modalities = {name: modality for name, modality in collator.inputs.items() if not isinstance(modality, EncodedModality)}
    units = {
        name: _units(modalities[name], features[name], batch.inputs[name].distinct) for name in features if name in batch.inputs
    }
    return Subject(model, batch, answer, output, modalities, features, units), prediction


def repeated(features: Features, rows: int, leaf: bool = False) -> Features:
    """One row's features, ``rows`` times; as a ``leaf`` they are a copy that takes gradients."""
    values = features.values.expand(rows, -1, -1)
    return Features(values.detach().clone().requires_grad_() if leaf else values, features.mask.expand(rows, -1), features.extent)


def _answer(runtime: TorchRuntime, output: str, prediction: Prediction) -> Answer:
    modality, decoders = runtime.outputs.get(output), runtime.model.decoders
    if isinstance(modality, TextModality):
        tokens = modality.tokenizer.framed(prediction.text or "", modality.max_length)
        spans = modality.tokenizer.words(tokens)
        if not spans:
            raise NothingToExplain("the model wrote nothing, so there is nothing to explain; try another picture or question")
        words = tuple(modality.tokenizer.decode(tokens[first : last + 1]) for first, last in spans)
        given = torch.tensor(tokens, device=runtime.device)
        return Written(runtime.model.decoder(output), given, words, tuple(spans))
    if isinstance(modality, LabelsModality):
        labels = (prediction.labels or ()) if prediction.labels is not None else (str(prediction.label),)
        if not labels:
            raise NothingToExplain("the model gave no label, so there is nothing to explain; try another picture or text")
        places = torch.tensor([modality.labels.index(label) for label in labels], device=runtime.device)
        return Labelled(decoders[output], labels, places, modality.config.multiple)  # type: ignore[arg-type]
    assert isinstance(modality, NumberModality) and prediction.value is not None
    return Measured(decoders[output], (f"{prediction.value:.4g}",))  # type: ignore[arg-type]


def _units(modality: InputModality, features: Features, given: Padded) -> Units:
    real = features.mask[0].cpu().numpy()
    places = np.flatnonzero(real)
    if isinstance(modality, ImageModality):
        assert features.extent is not None  # every image encoder says where its positions are
        positions = torch.eye(len(real), dtype=torch.bool, device=features.mask.device)[places]
        boxes = features.extent.cpu().numpy().astype(np.float64)[places]
        return Units(tuple(f"patch {k + 1}" for k in range(len(places))), positions, boxes)
    tokens = given.values[0].tolist()
    spans = [(first, last) for first, last in modality.tokenizer.words(tokens) if last < len(real) and real[last]]
    positions = torch.zeros(len(spans), len(real), dtype=torch.bool, device=features.mask.device)
    for unit, (first, last) in enumerate(spans):
        positions[unit, first : last + 1] = True
    names = tuple(modality.tokenizer.decode(tokens[first : last + 1]) for first, last in spans)
    return Units(names, positions, None, tuple(spans))


def _longer(features: Features, length: int) -> Features:
    """Padded to a length with positions that are not real."""
    lacking = length - features.mask.shape[1]
    values = torch.nn.functional.pad(features.values, (0, 0, 0, lacking))
    return Features(values, torch.nn.functional.pad(features.mask, (0, lacking)), None)


def _parts(features: Mapping[str, Features]) -> Iterator[dict[str, Features]]:
    """At most ``ROWS`` rows at once."""
    rows = next(iter(features.values())).mask.shape[0]
    for first in range(0, rows, ROWS):
        some = slice(first, first + ROWS)
        yield {name: Features(one.values[some], one.mask[some], one.extent) for name, one in features.items()}
