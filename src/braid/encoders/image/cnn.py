"""A small convolutional network for small images, trained from scratch."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import grid_features
from braid.layers.context import BuildContext
from braid.layers.residual import MaskedConvolution, residual_stages
from braid.modalities import ImageModality
from braid.records import Features, Padded
from braid.shapes import Float


@dataclass(frozen=True)
class CNNEncoderConfig:
    """Residual convolutions (arXiv:1512.03385) for drawings, symbols and other small images that no photo network has seen.

    Args:
        channels: of the first convolution; every stage doubles them.
        stages: each halves the size, as the first convolution does: a cell has 2^(stages + 1) pixels a side.
        dropout: probability that a channel is dropped in training, after each stage.
    """

    kind: Literal["cnn"] = "cnn"
    channels: int = 24
    stages: int = 3
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "channels")
        within(self, 1, 6, "stages")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "CNNEncoder":
        return CNNEncoder(self, context.input)


class CNNEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one vector a cell."""

    def __init__(self, config: CNNEncoderConfig, modality: ImageModality) -> None:
        super().__init__()
        cell = 2 ** (config.stages + 1)
        if modality.size < cell:
            raise UserError(f"images of {modality.size} pixels are smaller than a cell of {cell}; use fewer stages")
        self.config = config
        self.stem = MaskedConvolution(3, config.channels, 3, 2)
        self.stages = residual_stages(config.channels, config.stages)
        self.dropout = nn.Dropout2d(config.dropout)
        self.width = config.channels * 2**config.stages

    def forward(self, inputs: Padded) -> Features:
        real = _halved(inputs.mask.unsqueeze(1).to(inputs.values.dtype))
        values = self.stem(inputs.values, real).relu()
        for stage in self.stages:
            real = _halved(real)
            values = self.dropout(stage(values, real))
        return grid_features(values, inputs.mask)


def _halved(real: Float[Tensor, "n 1 rows columns"]) -> Float[Tensor, "n 1 fewer narrower"]:
    """1 where any of the four is real, in the size that a convolution of stride 2 gives."""
    return F.max_pool2d(real, 2, ceil_mode=True)
