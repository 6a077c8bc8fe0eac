"""Parallel co-attention: the inputs choose together which positions of each are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class CoAttentionFusionConfig:
    """Parallel co-attention (arXiv:1606.00061), one level of its hierarchy, between every two inputs.

    One affinity matrix of all pairs of positions weighs both inputs; each ends as a weighted mean of its own features. With
    ``attention``, in contrast, every position takes over what it reads from the others.
    """

    kind: Literal["co_attention"] = "co_attention"

    def build(self, context: BuildContext) -> "CoAttentionFusion":
        return CoAttentionFusion(context.encoders, context.width)


class CoAttentionFusion(nn.Module):
    """A position an input: with C = tanh(X A Y'), x = sum_t a_t X_t and a = softmax(w tanh(X U + C Y V)), y likewise by C'.

    Sums over positions are means here, and C is scaled as attention is, so that neither length nor width saturates a tanh.
    """

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})
        self.pairs = tuple(combinations(self.inputs, 2))
        self.affinities = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.pairs)
        self.hidden = nn.ModuleDict({name: nn.Linear(width, width) for name in self.inputs})
        self.scores = nn.ModuleDict({name: nn.Linear(width, 1) for name in self.inputs})

    def forward(self, features: Mapping[str, Features]) -> Fused:
        real = {name: features[name].mask.unsqueeze(-1).to(features[name].values.dtype) for name in self.inputs}
        own = {name: self.hidden[name](features[name].values) * real[name] for name in self.inputs}
        means = {name: own[name] / real[name].sum(1, keepdim=True).clamp(min=1) for name in self.inputs}
        hidden = dict(own)
        for (one, other), affinity in zip(self.pairs, self.affinities, strict=True):
            joint = affinity(features[one].values) @ features[other].values.transpose(1, 2)
            joint = (joint / math.sqrt(self.width)).tanh()
            hidden[one] = hidden[one] + joint @ means[other]
            hidden[other] = hidden[other] + joint.transpose(1, 2) @ means[one]
        read = []
        for name in self.inputs:
            scores = self.scores[name](hidden[name].tanh()).masked_fill(~features[name].mask.unsqueeze(-1), -1e4)
            read.append((scores.softmax(1) * real[name] * features[name].values).sum(1) + self.marks[name])
        values = torch.stack(read, 1)
        mask = torch.stack([features[name].mask.any(1) for name in self.inputs], 1)
        spans = {name: (place, place + 1) for place, name in enumerate(self.inputs)}
        return Fused(values, mask, masked_mean(values, mask), spans)
