"""The content of an explanation: a score for every unit of every input and output, and the contribution of each input."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braid.evaluation import subsets
from braid.records import View
from braid.shapes import Float, UInt8

FINEST = 64  # maximum rows and columns of a heat map


@dataclass(frozen=True, eq=False)
class InputAttribution:
    """The attributions of one input. ``kind`` names its ``units``: words, patches, columns, or another name of its modality.

    ``values`` of one output are comparable; a positive value supports the output, a negative one opposes it. An input with an
    ``image`` has a box (left, top, right, bottom in 0..1) for each unit in ``boxes``, or its width is the time of ``times``
    (start, end in seconds of the file). Other inputs are shown by their ``view``, and a recording is also played by it.
    """

    name: str
    units: tuple[str, ...]
    values: Float[np.ndarray, "outputs units"]
    boxes: Float[np.ndarray, "units 4"] | None = None
    image: UInt8[np.ndarray, "height width 3"] | None = None
    kind: str = "parts"
    view: View = field(default_factory=View)
    times: Float[np.ndarray, "units 2"] | None = None

    def heat_map(self, output: int) -> Float[np.ndarray, "rows columns"]:
        """The scores of an image's patches on a grid of the finest patch size."""
        assert self.boxes is not None
        return painted(self.boxes, self.values[output])

    def strengths(self, output: int) -> list[float]:
        """The scores of one output, divided by the strongest, in -1..1."""
        values = self.values[output]
        return (values / max(float(np.abs(values).max(initial=0.0)), 1e-12)).tolist()

    def strongest(self, most: int) -> list[int]:
        """The ``most`` units with the strongest scores over all outputs, in their original order."""
        order = np.argsort(-np.abs(self.values).max(0, initial=0.0), kind="stable")
        return sorted(order[:most].tolist())


@dataclass(frozen=True, eq=False)
class Attributions:
    """The explanation of one answer.

    ``outputs`` are the words of a text, the predicted labels, or one number. ``probabilities`` are in 0..1 (for a number: its
    distance from the mean in standard deviations), and ``contributions`` are the exact Shapley values of the inputs for them.
    ``checks`` are the method's own measurements. ``grades`` measure trust: ``deletion`` (lower is better) and ``insertion``
    (higher is better) in 0..1, and ``sensitivity`` to shuffled weights in 0..1, where 0 means that the map explains the input,
    not the model. ``notes`` are limits of the method.
    """

    method: str
    answer: str
    confidence: float
    outputs: tuple[str, ...]
    probabilities: Float[np.ndarray, " outputs"]
    inputs: tuple[InputAttribution, ...]
    contributions: Float[np.ndarray, "outputs inputs"]
    checks: Mapping[str, float] = field(default_factory=dict)
    grades: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def shares(self) -> dict[str, float]:
        """Each input's share of the effect on the answer, in 0..1 (after MM-SHAP, arXiv:2212.08158); 0 if there is no effect."""
        moved = np.abs(self.contributions).sum(0)
        total = max(float(moved.sum()), 1e-9)
        return {one.name: float(moved[k]) / total for k, one in enumerate(self.inputs)}

    def to_dict(self) -> dict[str, Any]:
        """Everything except the media, as plain numbers, lists and texts."""
        return {
            "answer": self.answer,
            "confidence": round(self.confidence, 4),
            "method": self.method,
            "outputs": [
                {
                    "text": text,
                    "probability": round(float(self.probabilities[k]), 4),
                    "contributions": {one.name: round(float(self.contributions[k, i]), 4) for i, one in enumerate(self.inputs)},
                    "attributions": {one.name: [round(float(v), 5) for v in one.values[k]] for one in self.inputs},
                }
                for k, text in enumerate(self.outputs)
            ],
            "inputs": {one.name: _places(one) for one in self.inputs},
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
            "checks": {name: round(value, 6) for name, value in self.checks.items()},
            "grades": {name: round(value, 4) for name, value in self.grades.items()},
            "notes": list(self.notes),
        }


def _places(one: InputAttribution) -> dict[str, Any]:
    """The units of an input: where they are in an image and in time, or what they are called."""
    known = {"boxes": one.boxes, "times": one.times}
    return {name: np.round(places, 5).tolist() for name, places in known.items() if places is not None} or {
        one.kind: list(one.units)
    }


def painted(boxes: Float[np.ndarray, "units 4"], values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "rows columns"]:
    """Spread each box's value over its area, on a grid as fine as the smallest box; boxes may overlap."""
    if not len(boxes):
        return np.zeros((1, 1))
    sizes = (boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0])
    rows, columns = (int(min(FINEST, max(1, round(1 / float(size.min()))))) for size in sizes)
    down, across = _covered(boxes[:, 1], boxes[:, 3], rows), _covered(boxes[:, 0], boxes[:, 2], columns)
    density = values / (sizes[0] * sizes[1])
    return np.asarray(np.einsum("u,ur,uc->rc", density, down, across))


def _covered(first: Float[np.ndarray, " units"], last: Float[np.ndarray, " units"], bins: int) -> Float[np.ndarray, "units bins"]:
    """The share of each of ``bins`` equal parts of 0..1 that lies between ``first`` and ``last``."""
    edges = np.arange(bins + 1) / bins
    inside = np.minimum(last[:, None], edges[1:]) - np.maximum(first[:, None], edges[:-1])
    return np.clip(inside, 0, None) * bins


def shapley(
    worth: Mapping[tuple[str, ...], Float[np.ndarray, "..."]], names: Sequence[str]
) -> dict[str, Float[np.ndarray, "..."]]:
    """The Shapley value of each name: its mean contribution over all orders in which names can be added (Shapley 1953).

    Args:
        worth: the value of every subset; a subset has its names in the order of ``names``.
    """
    number, result = len(names), {}
    for name in names:
        total = np.zeros_like(worth[()])
        for subset in subsets([other for other in names if other != name]):
            weight = math.factorial(len(subset)) * math.factorial(number - len(subset) - 1) / math.factorial(number)
            joined = tuple(other for other in names if other in subset or other == name)
            total = total + weight * (worth[joined] - worth[subset])
        result[name] = np.asarray(total)
    return result


def sampled_shapley(
    worth: Mapping[tuple[str, ...], Float[np.ndarray, "..."]], names: Sequence[str], orders: Sequence[tuple[str, ...]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """The Shapley value of each name, estimated over some ``orders``; the values still add up to the whole.

    Args:
        worth: the value of every subset that ``begun`` gives for the orders.
    """
    total = {name: np.zeros_like(worth[()], dtype=float) for name in names}
    for order in orders:
        for before, after, name in zip(begun(order, names), begun(order, names)[1:], order, strict=False):
            total[name] = total[name] + (worth[after] - worth[before])
    return {name: np.asarray(value / len(orders)) for name, value in total.items()}


def begun(order: Sequence[str], names: Sequence[str]) -> list[tuple[str, ...]]:
    """What an order has added after 0, 1, ... names; each subset has its names in the order of ``names``."""
    return [tuple(name for name in names if name in order[:size]) for size in range(len(order) + 1)]


def random_orders(names: Sequence[str], pairs: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Random orders, each followed by its reverse, which makes estimates steadier (arXiv:2104.12199)."""
    forwards = [tuple(names[place] for place in rng.permutation(len(names))) for _ in range(pairs)]
    return [order for one in forwards for order in (one, one[::-1])]
