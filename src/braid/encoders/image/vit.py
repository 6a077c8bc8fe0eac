"""Vision Transformer: an image as a sequence of patches."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import EncoderBlock, grid_boxes
from braid.layers.context import BuildContext
from braid.modalities import ImageModality
from braid.records import Features, Padded


@dataclass(frozen=True)
class ViTEncoderConfig:
    """ViT (arXiv:2010.11929), pre-norm, with learned positions and no class token: the fusion reads every patch.

    Args:
        patch_size: pixels a side of a patch; divides the image's size.
        width: of a patch's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["vit"] = "vit"
    patch_size: int = 16
    width: int = 192
    depth: int = 4
    heads: int = 3
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch_size", "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "ViTEncoder":
        return ViTEncoder(self, context.input)


class ViTEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one vector a patch; a patch is real where any of its pixels is."""

    def __init__(self, config: ViTEncoderConfig, modality: ImageModality) -> None:
        super().__init__()
        if modality.size % config.patch_size:
            raise UserError(
                f"images of {modality.size} pixels do not divide into patches of {config.patch_size}; change either size"
            )
        self.config = config
        self.width = config.width
        self.side = modality.size // config.patch_size
        self.patches = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        self.positions = nn.Parameter(0.02 * torch.randn(self.side * self.side, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Padded) -> Features:
        values = self.dropout(self.patches(inputs.values).flatten(2).transpose(1, 2) + self.positions)
        mask = F.max_pool2d(inputs.mask.unsqueeze(1).float(), self.config.patch_size).flatten(1) > 0
        for block in self.blocks:
            values = block(values, mask.unsqueeze(1))
        return Features(self.norm(values), mask, grid_boxes(self.side, self.side, values.device))
