"""Concatenation: h = [e; f], of one vector an input or of whole sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import end_to_end, masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class ConcatFusionConfig:
    """h = [e; f].

    Args:
        mode: ``vectors`` concatenates each input's mean, so the width is the sum; ``sequences`` concatenates all positions.
    """

    kind: Literal["concat"] = "concat"
    mode: Literal["vectors", "sequences"] = "vectors"

    def build(self, context: BuildContext) -> "VectorConcatFusion | SequenceConcatFusion":
        return (VectorConcatFusion if self.mode == "vectors" else SequenceConcatFusion)(context.encoders, context.width)


class VectorConcatFusion(nn.Module):
    """h = [mean(e); mean(f)], one position. A missing input is zeros."""

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width * len(self.inputs)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        given = [features[name] for name in self.inputs]
        joined = torch.cat([masked_mean(one.values, one.mask) for one in given], dim=-1)
        present = torch.stack([one.mask.any(1) for one in given], 1).any(1, keepdim=True)
        return Fused(joined.unsqueeze(1), present, joined)


class SequenceConcatFusion(nn.Module):
    """All positions of all inputs as one sequence; a learned vector of its input is added to each."""

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})

    def forward(self, features: Mapping[str, Features]) -> Fused:
        values = torch.cat([features[name].values + self.marks[name] for name in self.inputs], dim=1)
        mask = torch.cat([features[name].mask for name in self.inputs], dim=1)
        return Fused(values, mask, masked_mean(values, mask), end_to_end(features, self.inputs))
