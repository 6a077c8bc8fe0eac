"""Late fusion: inputs stay apart, and their decisions are averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class LateFusionConfig:
    """One vector an input, W_i e_i, for a decoder that scores each by itself and averages the scores by ``Fused.weights``.

    This is decision fusion (survey: arXiv:1705.09406).
    """

    kind: Literal["late"] = "late"

    def build(self, context: BuildContext) -> "LateFusion":
        return LateFusion(context.encoders, context.width)


class LateFusion(nn.Module):
    """A position an input. ``Fused.weights``: softmax of a learned number an input, over the inputs a row has; equal at first.

    They hang on no input's content, else the inputs would meet before the decision.
    """

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.values = nn.ModuleDict({name: nn.Linear(width, width) for name in self.inputs})
        self.scores = nn.Parameter(torch.zeros(len(self.inputs)))

    def forward(self, features: Mapping[str, Features]) -> Fused:
        values = torch.stack(
            [self.values[name](masked_mean(features[name].values, features[name].mask)) for name in self.inputs], 1
        )
        present = torch.stack([features[name].mask.any(1) for name in self.inputs], 1)
        # A finite floor keeps the softmax of a row without inputs finite; its weights are then zeroed.
        weights = self.scores.expand(present.shape).masked_fill(~present, -1e4).softmax(-1) * present.to(values.dtype)
        spans = {name: (place, place + 1) for place, name in enumerate(self.inputs)}
        by_input = {name: weights[:, place] for place, name in enumerate(self.inputs)}
        return Fused(values, present, (weights.unsqueeze(-1) * values).sum(1), spans, by_input)
