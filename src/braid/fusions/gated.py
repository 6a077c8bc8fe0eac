"""A gated sum: every dimension of every input has a gate of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class GatedFusionConfig:
    """h = sum_i z_i * tanh(W_i e_i) with z_i = sigmoid(V_i [e_1; ...; e_n]) (Gated Multimodal Unit, arXiv:1702.01992).

    Every dimension of every input has its own gate; with ``weighted``, in contrast, the weights of all inputs sum to 1.
    """

    kind: Literal["gated"] = "gated"

    def build(self, context: BuildContext) -> "GatedFusion":
        return GatedFusion(context.encoders, context.width)


class GatedFusion(nn.Module):
    """One position. ``Fused.weights`` are each input's mean gate as a share of all: 0 where a row lacks the input, 1 in sum."""

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.values = nn.ModuleDict({name: nn.Linear(width, width) for name in self.inputs})
        self.gates = nn.Linear(len(self.inputs) * width, len(self.inputs) * width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        means = [masked_mean(features[name].values, features[name].mask) for name in self.inputs]
        present = torch.stack([features[name].mask.any(1) for name in self.inputs], 1)
        values = torch.stack([self.values[name](mean).tanh() for name, mean in zip(self.inputs, means, strict=True)], 1)
        # A missing input's gate is shut: its tanh of zeros still holds a bias.
        gates = self.gates(torch.cat(means, -1)).view_as(values).sigmoid() * present.unsqueeze(-1).to(values.dtype)
        joined = (gates * values).sum(1)
        openness = gates.mean(-1)
        shares = openness / openness.sum(1, keepdim=True).clamp(min=1e-6)
        by_input = {name: shares[:, place] for place, name in enumerate(self.inputs)}
        return Fused(joined.unsqueeze(1), present.any(1, keepdim=True), joined, weights=by_input)
