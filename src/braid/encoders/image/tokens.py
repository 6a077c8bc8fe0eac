"""An image as the tokens of one of the model's codecs: convolutions over their grid, then a transformer over its patches."""

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
from braid.layers.image_tokens import ReconstructionAugmentation, TokenCodec, TokenContext, digits, read_tokens
from braid.modalities import TokenGrid
from braid.records import Features, Padded


@dataclass(frozen=True)
class ImageTokenEncoderConfig:
    """Reads an image as the tokens of a codec, for a model that also generates images.

    Each part of a token, such as outline and colour, has convolutions of its own; a transformer then reads patches of tokens, as
    ViT does (arXiv:2010.11929; convolutions before it: arXiv:2106.14881).

    Args:
        codec: the output whose codec makes the tokens.
        conv_depth: residual convolution blocks before the transformer; each sees two tokens further to every side.
        patch_size: tokens a side of a patch.
        width: of a patch's vector.
        depth: number of transformer blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
        reconstruction_probability: that a training image is replaced by the codec's reconstruction of it. A model that edits
            images which it generated needs this: about 20% of their tokens change when they are encoded again.
    """

    kind: Literal["tokens"] = "tokens"
    codec: str = "image"
    conv_depth: int = 4
    patch_size: int = 2
    width: int = 192
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    reconstruction_probability: float = 0.0

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch_size", "width", "depth", "heads")
        within(self, 0, math.inf, "conv_depth")
        within(self, 0, 1, "dropout", "reconstruction_probability")

    def build(self, context: BuildContext) -> "ImageTokenEncoder":
        codec = context.codec(self.codec, f"it reads the tokens of the codec {self.codec!r}, which the model does not have")
        context.check_alike(context.name, self.codec, f"it reads the tokens of {self.codec!r}")
        if self.reconstruction_probability:
            augment = ReconstructionAugmentation(codec, context.input.config, self.reconstruction_probability)
            context.augment(context.name, augment)
        return ImageTokenEncoder(self, codec)


class ImageTokenEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one vector a patch of tokens; a patch is real where any of its pixels is.

    The codec stays a part of the model's: it is stored there, and not trained.
    """

    def __init__(self, config: ImageTokenEncoderConfig, codec: TokenCodec) -> None:
        super().__init__()
        grid = codec.grid
        if grid.rows % config.patch_size or grid.columns % config.patch_size:
            message = f"a grid of {grid.rows} x {grid.columns} tokens does not divide into patches of {config.patch_size}"
            raise UserError(f"{message}; change patch_size")
        self.config, self.width = config, config.width
        self.borrowed = [codec]  # in a list, where torch does not look for parameters
        self.cells = (grid.rows // config.patch_size, grid.columns // config.patch_size)
        narrow = max(config.width // 2, 1)
        parts = [TokenGrid(grid.rows, grid.columns, (part,)) for part in grid.parts]
        self.surroundings = nn.ModuleList(TokenContext(part, narrow, config.conv_depth) for part in parts)
        self.patches = nn.Conv2d(narrow * len(parts), config.width, config.patch_size, config.patch_size)
        self.positions = nn.Parameter(0.02 * torch.randn(math.prod(self.cells), config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Padded) -> Features:
        parts = digits(read_tokens(self.borrowed[0], inputs.values), self.borrowed[0].grid)
        places = [surroundings(part) for surroundings, part in zip(self.surroundings, parts, strict=True)]
        values = self.dropout(self.patches(torch.cat(places, 1)).flatten(2).transpose(1, 2) + self.positions)
        mask = F.adaptive_max_pool2d(inputs.mask.unsqueeze(1).float(), self.cells).flatten(1) > 0
        for block in self.blocks:
            values = block(values, mask.unsqueeze(1))
        return Features(self.norm(values), mask, grid_boxes(*self.cells, values.device))
