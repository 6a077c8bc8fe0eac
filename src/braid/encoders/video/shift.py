"""Shifts over time: neighbouring frames exchange channels, place by place."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.encoders.frames import FrameEncoder
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.layers.attention import FeedForward
from braid.layers.context import BuildContext
from braid.records import Features
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class ShiftVideoEncoderConfig:
    """Residual shifts over time (arXiv:1811.08383) between layers over the cells of the frames, after the image encoder. A shift
    costs no multiplication and has no parameters. Cells stay apart, so an explanation shows when and where.

    Args:
        frame: the image encoder of the frames.
        width: of a cell's vector.
        depth: number of shifts, each with two layers.
        share: of the channels, that come from the next frame, and as many from the one before.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["video_shift"] = "video_shift"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)
    width: int = 256
    depth: int = 2
    share: float = 0.125
    dropout: float = 0.1

    modality: ClassVar[str] = "video"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth")
        within(self, 0, 0.5, "share")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "ShiftVideoEncoder":
        return ShiftVideoEncoder(self, context)


class ShiftBlock(nn.Module):
    """Layer norm, a shift, two layers; added to its input."""

    def __init__(self, width: int, share: float, dropout: float) -> None:
        super().__init__()
        self.moved = round(share * width)
        self.norm = nn.LayerNorm(width)
        self.layers = FeedForward(width, dropout)

    def forward(
        self, values: Float[Tensor, "n frames cells width"], mask: Bool[Tensor, "n frames cells"]
    ) -> Float[Tensor, "n frames cells width"]:
        shown = self.norm(values) * mask.unsqueeze(-1).to(values.dtype)  # a masked frame gives what is beyond the end: zeros
        return values + self.layers(shifted(shown, self.moved))


class ShiftVideoEncoder(FrameEncoder):
    """Clips [n, frames, 3, size, size] -> one vector a cell of every frame."""

    def __init__(self, config: ShiftVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.width = config.width
        self.projection = nn.Sequential(nn.Linear(self.frame.width, config.width), nn.LayerNorm(config.width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.frames, 1, config.width))
        self.blocks = nn.ModuleList(ShiftBlock(config.width, config.share, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def read(self, described: Features) -> Features:
        cells = self.cells(described)
        values, mask = (one.unflatten(1, (self.frames, -1)) for one in (self.projection(cells.values), cells.mask))
        values = values + self.positions
        for block in self.blocks:
            values = block(values, mask)
        return Features(self.norm(values).flatten(1, 2), cells.mask, cells.extent)


def shifted(values: Float[Tensor, "n frames cells width"], moved: int) -> Float[Tensor, "n frames cells width"]:
    """The first ``moved`` channels from the next frame, as many from the one before, the others as they are; zeros beyond the
    ends."""
    later = F.pad(values[:, 1:, :, :moved], (0, 0, 0, 0, 0, 1))
    earlier = F.pad(values[:, :-1, :, moved : 2 * moved], (0, 0, 0, 0, 1, 0))
    return torch.cat([later, earlier, values[..., 2 * moved :]], -1)
