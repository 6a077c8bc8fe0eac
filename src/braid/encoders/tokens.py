"""Pictures as the tokens of a codec of the model: convolutions over their grid, then a transformer over its patches."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import EncoderBlock, grid_boxes
from braid.layers.image_tokens import Tokenizing, TokenSurroundings, digits, read_tokens
from braid.modalities import TokenGrid
from braid.records import Features, Padded


@dataclass(frozen=True)
class ImageTokenEncoderConfig:
    """Reads the tokens that the codec ``of`` an output makes of the picture: for a model that also draws, where a shape is
    made of the same few pieces wherever it stands.

    Each part of a token, such as outline and colour, goes through ``around`` residual blocks of convolutions of its own, two
    places further to every side with each, so that an outline's do not depend on its colour. ``patch`` x ``patch``
    tokens become a position with a place of its own, and ``depth`` transformer blocks read those, as in ViT (arXiv:2010.11929;
    convolutions before it: arXiv:2106.14881).

    ``redrawn``: in training, the chance that a picture is read, and drawn over, as the codec draws it. What a model drew itself
    has been through the codec once, and there a token in five is another when it is read again.
    """

    kind: Literal["tokens"] = "tokens"
    of: str = "image"
    around: int = 4
    patch: int = 2
    width: int = 192
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    redrawn: float = 0.0

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch", "width", "depth", "heads")
        within(self, 0, math.inf, "around")
        within(self, 0, 1, "dropout", "redrawn")

    def build(self, codec: Tokenizing) -> "ImageTokenEncoder":
        return ImageTokenEncoder(self, codec)


class ImageTokenEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one vector a patch of tokens; a patch is real where any of its pixels is.

    The codec stays a part of the model's: it is stored there, and not trained.
    """

    def __init__(self, config: ImageTokenEncoderConfig, codec: Tokenizing) -> None:
        super().__init__()
        grid = codec.grid
        if grid.rows % config.patch or grid.columns % config.patch:
            message = f"a grid of {grid.rows} x {grid.columns} tokens does not divide into patches of {config.patch}"
            raise UserError(f"{message}; change patch")
        self.config, self.width = config, config.width
        self.reads = [codec]  # in a list, which torch does not look into for parameters
        self.cells = (grid.rows // config.patch, grid.columns // config.patch)
        narrow = max(config.width // 2, 1)
        parts = [TokenGrid(grid.rows, grid.columns, (part,)) for part in grid.parts]
        self.surroundings = nn.ModuleList(TokenSurroundings(part, narrow, config.around) for part in parts)
        self.patches = nn.Conv2d(narrow * len(parts), config.width, config.patch, config.patch)
        self.positions = nn.Parameter(0.02 * torch.randn(math.prod(self.cells), config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Padded) -> Features:
        parts = digits(read_tokens(self.reads[0], inputs.values), self.reads[0].grid)
        places = [around(part) for around, part in zip(self.surroundings, parts, strict=True)]
        values = self.dropout(self.patches(torch.cat(places, 1)).flatten(2).transpose(1, 2) + self.positions)
        mask = F.adaptive_max_pool2d(inputs.mask.unsqueeze(1).float(), self.cells).flatten(1) > 0
        for block in self.blocks:
            values = block(values, mask.unsqueeze(1))
        return Features(self.norm(values), mask, grid_boxes(*self.cells, values.device))
