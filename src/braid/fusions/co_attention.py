"""Parallel co-attention: inputs say together which positions of each are worth reading."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import masked_mean
from braid.records import Features, Fused


@dataclass(frozen=True)
class CoAttentionFusionConfig:
    """Parallel co-attention (Lu et al., arXiv:1606.00061), of its hierarchy one level, between every two inputs.

    Unlike ``attention``, where every position goes on as what it has read from the others, here one affinity of all pairs
    of positions serves both sides, and what comes of it is only where to look: each input ends as a weighted mean of its own
    features. MCAN's blocks (arXiv:1906.10770) would be ``attention`` again, with self-attention before.
    """

    kind: Literal["co_attention"] = "co_attention"

    def build(self, inputs: Sequence[str], width: int) -> "CoAttentionFusion":
        return CoAttentionFusion(inputs, width)


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
