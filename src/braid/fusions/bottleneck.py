"""Attention bottlenecks: the inputs exchange information through a few tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.config import within
from braid.layers.attention import EncoderBlock, begin_as_identity, end_to_end, masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class BottleneckFusionConfig:
    """MBT (arXiv:2107.00135): each input has transformer blocks of its own, which share a few bottleneck tokens and nothing else.

    Args:
        num_bottlenecks: bottleneck tokens.
        depth: blocks an input; at least 2, for the first fills the bottlenecks and the next reads them.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    num_bottlenecks: int = 4
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "num_bottlenecks", "heads")
        within(self, 2, math.inf, "depth")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "BottleneckFusion":
        return BottleneckFusion(self, context.encoders, context.width)


class BottleneckFusion(nn.Module):
    """Each input's sequence, end to end; ``pooled`` is the mean of the inputs' means, so that a long one counts no more.

    Begins as concatenation of sequences: every block starts as the identity.
    """

    def __init__(self, config: BottleneckFusionConfig, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})
        self.bottlenecks = nn.Parameter(0.02 * torch.randn(config.num_bottlenecks, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: begin_as_identity(EncoderBlock(width, config.heads, config.dropout)) for name in self.inputs})
            for _ in range(config.depth)
        )

    def forward(self, features: Mapping[str, Features]) -> Fused:
        values = {name: features[name].values + self.marks[name] for name in self.inputs}
        masks = {name: features[name].mask for name in self.inputs}
        present = torch.stack([mask.any(1) for mask in masks.values()], 1).to(self.bottlenecks.dtype)
        shares = (present / present.sum(1, keepdim=True).clamp(min=1)).unsqueeze(-1)
        shared = self.bottlenecks.expand(present.shape[0], -1, -1)
        real = torch.ones_like(shared[..., 0], dtype=torch.bool)
        for block in self.blocks:
            copies = []
            for name in self.inputs:
                length = values[name].shape[1]
                mask = torch.cat([masks[name], real], 1)
                both = block[name](torch.cat([values[name], shared], 1), mask.unsqueeze(1))  # type: ignore[index]
                values[name] = both[:, :length]
                copies.append(both[:, length:])
            shared = (torch.stack(copies, 1) * shares.unsqueeze(-1)).sum(1)
        means = torch.stack([masked_mean(values[name], masks[name]) for name in self.inputs], 1)
        whole, mask = torch.cat(list(values.values()), 1), torch.cat(list(masks.values()), 1)
        return Fused(whole, mask, (means * shares).sum(1), end_to_end(features, self.inputs))
