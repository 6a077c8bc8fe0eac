"""Co-attention: every input reads every other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.layers.attention import Attention, FeedForward, end_to_end, masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class AttentionFusionConfig:
    """Cross-attention between the inputs (ViLBERT, arXiv:1908.02265); their sequences are then concatenated.

    Args:
        depth: blocks an input.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["attention"] = "attention"
    depth: int = 1
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "AttentionFusion":
        return AttentionFusion(self, context.encoders, context.width)


class CoAttentionBlock(nn.Module):
    """Pre-norm: read the other inputs' positions, then a feed-forward. Without others, the feed-forward alone."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.others_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        values: Float[Tensor, "batch length width"],
        others: Float[Tensor, "batch positions width"],
        mask: Bool[Tensor, "batch positions"],
    ) -> Float[Tensor, "batch length width"]:
        keys = self.attention.keys_values(self.others_norm(others))
        values = values + self.dropout(self.attention(self.norm(values), *keys, mask.unsqueeze(1)))
        return values + self.dropout(self.feed_forward(self.feed_forward_norm(values)))


class AttentionFusion(nn.Module):
    """Each input's sequence after it has read the others; a missing input is read by nobody."""

    def __init__(self, config: AttentionFusionConfig, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})
        self.blocks = nn.ModuleList(
            nn.ModuleDict({name: CoAttentionBlock(width, config.heads, config.dropout) for name in self.inputs})
            for _ in range(config.depth)
        )

    def forward(self, features: Mapping[str, Features]) -> Fused:
        values = {name: features[name].values + self.marks[name] for name in self.inputs}
        masks = {name: features[name].mask for name in self.inputs}
        for block in self.blocks:
            values = {name: block[name](values[name], *self._others(name, values, masks)) for name in self.inputs}  # type: ignore[index]
        whole = torch.cat(list(values.values()), 1)
        mask = torch.cat(list(masks.values()), 1)
        return Fused(whole, mask, masked_mean(whole, mask), end_to_end(features, self.inputs))

    def _others(
        self, name: str, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "batch positions width"], Bool[Tensor, "batch positions"]]:
        """The positions of all other inputs; those of the only input, all masked, where there is no other."""
        others = [other for other in self.inputs if other != name]
        if not others:
            return values[name], torch.zeros_like(masks[name])
        return torch.cat([values[other] for other in others], 1), torch.cat([masks[other] for other in others], 1)
