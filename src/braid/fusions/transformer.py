"""Single stream: all inputs end to end, every position reads every other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from braid.layers.attention import EncoderBlock, begin_as_identity, end_to_end, masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused


@dataclass(frozen=True)
class TransformerFusionConfig:
    """Transformer blocks over the positions of all inputs (VisualBERT, arXiv:1908.03557).

    Args:
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["transformer"] = "transformer"
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1

    def build(self, context: BuildContext) -> "TransformerFusion":
        return TransformerFusion(self, context.encoders, context.width)


class TransformerFusion(nn.Module):
    """Begins as concatenation of sequences: every block starts as the identity.

    So a model that was trained with plain concatenation goes on from where it was.
    """

    def __init__(self, config: TransformerFusionConfig, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})
        self.blocks = nn.ModuleList(
            begin_as_identity(EncoderBlock(width, config.heads, config.dropout)) for _ in range(config.depth)
        )

    def forward(self, features: Mapping[str, Features]) -> Fused:
        values = torch.cat([features[name].values + self.marks[name] for name in self.inputs], 1)
        mask = torch.cat([features[name].mask for name in self.inputs], 1)
        for block in self.blocks:
            values = block(values, mask.unsqueeze(1))
        return Fused(values, mask, masked_mean(values, mask), end_to_end(features, self.inputs))
