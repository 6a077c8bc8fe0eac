"""Feature-wise linear modulation: one input scales and shifts the features of all others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.layers.attention import end_to_end, masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused
from braid.shapes import Float


@dataclass(frozen=True)
class FilmFusionConfig:
    """FiLM (arXiv:1709.07871): the mean of one input gives the scales and shifts of blocks over the others' positions.

    Args:
        condition: the input that scales and shifts; the last input where this is empty.
        depth: number of blocks.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["film"] = "film"
    condition: str = ""
    depth: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "depth")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "FilmFusion":
        return FilmFusion(self, context.encoders, context.width)


class FilmBlock(nn.Module):
    """The paper's residual block for a position of any input, so without its 3x3 convolution: linear, ReLU, linear, norm,
    scale and shift, ReLU."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linears = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        values: Float[Tensor, "batch length width"],
        scale: Float[Tensor, "batch 1 width"],
        shift: Float[Tensor, "batch 1 width"],
    ) -> Float[Tensor, "batch length width"]:
        return values + self.dropout((scale * self.norm(self.linears(values)) + shift).relu())


class FilmFusion(nn.Module):
    """The other inputs' positions end to end, modulated; a row without the modulating input goes through unmodulated.

    The modulating input's own positions are real only in a row that has nothing else to read.
    """

    def __init__(self, config: FilmFusionConfig, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.condition = config.condition or self.inputs[-1]
        if self.condition not in self.inputs:
            message = f"condition is {self.condition!r}, which is not an input of the model"
            raise UserError(f"{message}; {did_you_mean(self.condition, self.inputs)}")
        self.marks = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in self.inputs})
        self.blocks = nn.ModuleList(FilmBlock(width, config.dropout) for _ in range(config.depth))
        # Scales are learned as their difference from 1, and begin near it.
        self.modulation = nn.Linear(width, config.depth * 2 * width)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        masks = {name: features[name].mask for name in self.inputs}
        given = masks[self.condition].any(1)
        nothing_else = torch.ones_like(given)
        for name in self.inputs:
            if name != self.condition:
                nothing_else = nothing_else & ~masks[name].any(1)
        modulation = self.modulation(masked_mean(features[self.condition].values, masks[self.condition]))
        changes = (modulation * given.unsqueeze(1).to(modulation.dtype)).unsqueeze(1).chunk(2 * len(self.blocks), -1)
        masks[self.condition] = masks[self.condition] & nothing_else.unsqueeze(1)
        values = torch.cat([features[name].values + self.marks[name] for name in self.inputs], 1)
        mask = torch.cat([masks[name] for name in self.inputs], 1)
        for place, block in enumerate(self.blocks):
            values = block(values, 1 + changes[2 * place], changes[2 * place + 1])
        return Fused(values, mask, masked_mean(values, mask), end_to_end(features, self.inputs))
