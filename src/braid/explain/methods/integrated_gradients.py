"""Integrated gradients: distributes the change of the score, from empty features to the row's features, over positions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from braid.explain.subject import ROWS, Attributed, Subject, repeated
from braid.shapes import Float

CLOSE = 0.02  # maximum error of the sum of attributions, as a share of the change
MOST_STEPS = 256


@dataclass(frozen=True)
class IntegratedGradients:
    """Sundararajan et al. (arXiv:1703.01365) at ``Features``, along a straight line from zeros, by Gauss-Legendre quadrature.

    Completeness: the attributions of all positions sum to the change of the score. The number of steps doubles from ``steps`` to
    at most 256, until the error is below 2%; the error is reported.
    """

    kind: Literal["integrated_gradients"] = "integrated_gradients"
    steps: int = 32

    def attribute(self, subject: Subject) -> Attributed:
        ends = {name: repeated(one, subject.num_outputs) for name, one in subject.features.items()}
        none = {name: replace(one, values=torch.zeros_like(one.values)) for name, one in ends.items()}
        change = subject.scored(ends).diagonal() - subject.scored(none).diagonal()
        steps = self.steps
        while True:
            result = integrate(subject, steps)
            total = sum(part.sum(1).double().cpu().numpy() for part in result.values())
            gap = float(np.abs(total - change).sum() / max(float(np.abs(change).sum()), 1e-9))
            if gap < CLOSE or steps >= MOST_STEPS:
                return Attributed(subject.gathered(result), {"completeness_gap": gap, "steps": float(steps)})
            steps *= 2


def integrate(subject: Subject, steps: int) -> dict[str, Float[Tensor, "outputs _length"]]:
    """The integral of the gradient times the features, by position."""
    points, shares = (values / 2 for values in np.polynomial.legendre.leggauss(steps))
    whole = {name: one.values[0] for name, one in subject.features.items()}
    total = {name: torch.zeros(subject.num_outputs, *value.shape, device=value.device) for name, value in whole.items()}
    at_once = max(1, ROWS // subject.num_outputs)
    for first in range(0, steps, at_once):
        some = slice(first, first + at_once)
        for name, gradient in _gradients(subject, points[some] + 0.5).items():
            weights = torch.tensor(shares[some], dtype=gradient.dtype, device=gradient.device)
            total[name] += torch.einsum("s,solw->olw", weights, gradient)
    return {name: (total[name] * whole[name]).sum(-1) * subject.features[name].mask for name in whole}


def _gradients(
    subject: Subject, points: Float[np.ndarray, " steps"]
) -> Mapping[str, Float[Tensor, "steps outputs _length width"]]:
    """The gradient of each output's score at ``points`` (0..1) on the line from zeros to the features."""
    outputs = subject.num_outputs
    leaves = {}
    for name, one in subject.features.items():
        scale = torch.tensor(points, dtype=one.values.dtype, device=one.values.device).repeat_interleave(outputs)
        values = (scale[:, None, None] * one.values.detach()).requires_grad_()
        leaves[name] = replace(repeated(one, len(scale)), values=values)
    with torch.enable_grad():
        scores = subject.scores(leaves).view(len(points), outputs, outputs)
        score = scores.diagonal(dim1=1, dim2=2).sum()
    values = [one.values for one in leaves.values()]
    gradients = torch.autograd.grad(score, values, allow_unused=True)
    return {
        name: (torch.zeros_like(value) if gradient is None else gradient).unflatten(0, (len(points), outputs))
        for name, value, gradient in zip(leaves, values, gradients, strict=True)
    }
