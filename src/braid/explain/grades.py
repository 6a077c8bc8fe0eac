"""Grades of explanations: does the answer depend on the highlighted units, and the map on the model's weights?"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from braid.explain.methods import Method
from braid.explain.subject import Attributed, Subject
from braid.shapes import Float

LEVELS = 11  # points of a curve, from no units to all units
SEED = 0


@dataclass(frozen=True)
class Chance:
    """Random scores, the baseline for methods."""

    seed: int = SEED

    def attribute(self, subject: Subject) -> Attributed:
        rng = np.random.default_rng(self.seed)
        return Attributed({name: rng.random((subject.num_outputs, units.number)) for name, units in subject.units.items()})


def graded_input(subject: Subject) -> str:
    """The input to grade: one with boxes in an image, otherwise the one with the most units; "" if no unit can be removed."""
    mapped = [name for name, units in subject.units.items() if units.boxes is not None]
    result = mapped or sorted(subject.units, key=lambda name: -subject.units[name].number)
    return result[0] if result and subject.units[result[0]].removable.any() else ""


def faithfulness(
    subject: Subject, name: str, values: Float[np.ndarray, "maps units"], outputs: Sequence[Sequence[int]]
) -> tuple[Float[np.ndarray, " maps"], Float[np.ndarray, " maps"]]:
    """Deletion and insertion (RISE, arXiv:1806.07421): the area under the probability curve while the units of one input are
    removed (deletion) or added (insertion), highest scores first, ties in random order. Probabilities are divided by that of the
    complete row, and clipped to 1.

    Args:
        outputs: for each map, the outputs whose mean probability is measured.
    """
    cells = np.flatnonzero(subject.units[name].removable)
    rng = np.random.default_rng(SEED)
    counts = np.rint(np.linspace(0, len(cells), LEVELS)).astype(int)
    deleted = np.ones((len(values), LEVELS, subject.units[name].number), dtype=bool)
    for row, scores in enumerate(values):
        shuffled = rng.permutation(cells)
        order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
        for level, count in enumerate(counts):
            deleted[row, level, order[:count]] = False
    inserted = ~deleted
    kept = np.concatenate([deleted, inserted]).reshape(-1, deleted.shape[2])
    probabilities = subject.probabilities(subject.perturbed({name: kept})).reshape(2, len(values), LEVELS, -1)
    shares = np.clip(probabilities / np.maximum(subject.probabilities(subject.features)[0], 1e-12), 0, 1)
    curves = np.stack([shares[:, row][:, :, list(some)].mean(-1) for row, some in enumerate(outputs)], 1)
    areas = (curves[..., 1:] + curves[..., :-1]).mean(-1) / 2
    return areas[0], areas[1]


def sensitivity(
    subject: Subject, method: Method | Chance, values: Float[np.ndarray, "outputs units"], name: str, seed: int = SEED
) -> float:
    """1 - mean |rank correlation| between each output's map and the map of a model with shuffled weights, in 0..1 (Adebayo et
    al., arXiv:1810.03292). A map that does not change explains the input, not the model."""
    other = method.attribute(with_shuffled_weights(subject, seed)).values[name]
    pairs = [abs(_rank_correlation(a, b)) for a, b in zip(values, other, strict=True)]
    return 1 - float(np.mean(pairs))


def with_shuffled_weights(subject: Subject, seed: int = SEED) -> Subject:
    """The same row and answer with a model in which the values of each parameter are shuffled."""
    model = copy.deepcopy(subject.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
        features = model.encode(subject.batch)
    decoder: nn.Module = model.decoders[subject.output]
    answer = replace(subject.answer, decoder=decoder)  # type: ignore[arg-type]
    return replace(subject, model=model, answer=answer, features=features)


def _rank_correlation(a: Float[np.ndarray, " units"], b: Float[np.ndarray, " units"]) -> float:
    """Spearman's rank correlation; 1 if a map is constant, because such a map does not depend on the model."""
    first, second = _ranks(a), _ranks(b)
    if first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Float[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """Ranks from 0; equal values get their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[place])
