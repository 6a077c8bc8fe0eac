"""Grad-CAM: positions with strong features that support the answer."""

from dataclasses import dataclass
from typing import Literal

import torch

from braid.explain.subject import Attributed, Subject


@dataclass(frozen=True)
class GradCam:
    """Selvaraju et al. (arXiv:1610.02391) at ``Features``: the positive part of the sum of channels, each weighted by its mean
    gradient over an input's positions."""

    kind: Literal["grad_cam"] = "grad_cam"

    def attribute(self, subject: Subject) -> Attributed:
        leaves = subject.leaves(subject.num_outputs)
        with torch.enable_grad():
            score = subject.scores(leaves).diagonal().sum()  # one row per output
        values = [one.values for one in leaves.values()]
        gradients = torch.autograd.grad(score, values, allow_unused=True)
        result = {}
        for (name, one), gradient in zip(leaves.items(), gradients, strict=True):
            real = one.mask.unsqueeze(-1).to(one.values.dtype)
            slope = torch.zeros_like(one.values) if gradient is None else gradient * real
            weights = slope.sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
            result[name] = ((weights * one.values).sum(-1) * one.mask).clamp(min=0)
        return Attributed(subject.gathered(result))
