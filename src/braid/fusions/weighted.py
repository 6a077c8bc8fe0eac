"""A weighted sum whose weights are learned, differ by example, and can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class WeightedFusionConfig:
    """h = sum_i w_i W_i e_i with w = softmax of a learned score of each input, over the inputs a row has.

    The weights are those of attention over modalities (arXiv:1701.03126), computed once a row.
    """

    kind: Literal["weighted"] = "weighted"

    def build(self, context: BuildContext) -> "WeightedFusion":
        return WeightedFusion(context.encoders, context.width)


class WeightedFusion(nn.Module):
    """One position. ``Fused.weights`` are the w_i: they sum to 1 over the inputs a row has, and are 0 elsewhere."""

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.values = nn.ModuleDict({name: nn.Linear(width, width) for name in self.inputs})
        # A score sees every input, so that a clear image can lower the weight of a vague text.
        self.scores = nn.Sequential(nn.Linear(len(self.inputs) * width, width), nn.GELU(), nn.Linear(width, len(self.inputs)))

    def forward(self, features: Mapping[str, Features]) -> Fused:
        means = [masked_mean(features[name].values, features[name].mask) for name in self.inputs]
        present = torch.stack([features[name].mask.any(1) for name in self.inputs], 1)
        # A finite floor keeps the softmax of a row without inputs finite; its weights are then zeroed.
        scores = self.scores(torch.cat(means, -1)).masked_fill(~present, -1e4)
        weights = scores.softmax(-1) * present.to(scores.dtype)
        values = torch.stack([self.values[name](mean) for name, mean in zip(self.inputs, means, strict=True)], 1)
        joined = (weights.unsqueeze(-1) * values).sum(1)
        by_input = {name: weights[:, place] for place, name in enumerate(self.inputs)}
        return Fused(joined.unsqueeze(1), present.any(1, keepdim=True), joined, weights=by_input)
