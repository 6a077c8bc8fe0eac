"""How far to trust an explanation: does the answer depend on what it points at, and the map on the model's weights?"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from braid.explain.methods import Method
from braid.explain.subject import Attributed, Subject
from braid.shapes import Float

LEVELS = 11  # shares of the units, none to all, at which a curve is measured
SEED = 0


@dataclass(frozen=True)
class Chance:
    """Random scores: the baseline that a method has to beat."""

    seed: int = SEED

    def attribute(self, subject: Subject) -> Attributed:
        rng = np.random.default_rng(self.seed)
        return Attributed({name: rng.random((subject.num_outputs, units.number)) for name, units in subject.units.items()})


def graded_input(subject: Subject) -> str:
    """An input with places in an image, else the one with the most units; "" where no input has anything to remove."""
    mapped = [name for name, units in subject.units.items() if units.boxes is not None]
    result = mapped or sorted(subject.units, key=lambda name: -subject.units[name].number)
    return result[0] if result and subject.units[result[0]].removable.any() else ""


def faithfulness(
    subject: Subject, name: str, values: Float[np.ndarray, "maps units"], outputs: Sequence[Sequence[int]]
) -> tuple[Float[np.ndarray, " maps"], Float[np.ndarray, " maps"]]:
    """Deletion and insertion (RISE, arXiv:1806.07421): the area under the probability, as a share of the whole row's and 1 at
    most, as the units of one input are removed (deletion) or added (insertion), the highest scores first; ties in random order.

    Args:
        outputs: of each map, the outputs whose probabilities are followed; their mean is taken.
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
    """1 - the mean |rank correlation| of each output's map with the one that a model of shuffled weights gives, in 0..1 (Adebayo
    et al., arXiv:1810.03292): a map that stays the same explains the input and not the model."""
    other = method.attribute(with_shuffled_weights(subject, seed)).values[name]
    pairs = [abs(_rank_correlation(a, b)) for a, b in zip(values, other, strict=True)]
    return 1 - float(np.mean(pairs))


def with_shuffled_weights(subject: Subject, seed: int = SEED) -> Subject:
    """The same row and answer, read by a model in which every parameter's numbers have changed places."""
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
    """Spearman's; 1 where one of them is constant: such a map says nothing of the model."""
    first, second = _ranks(a), _ranks(b)
    if first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Float[np.ndarray, " units"]) -> Float[np.ndarray, " units"]:
    """From 0; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[place])
