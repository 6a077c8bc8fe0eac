"""Shifts over time: neighbouring frames exchange channels, place by place."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.encoders.frames import FrameEncoder, moments
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.layers.attention import FeedForward
from braid.layers.context import BuildContext
from braid.records import Features
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class ShiftVideoEncoderConfig:
    """Residual shifts over time (arXiv:1811.08383) between layers over the cells of the frames, after the image encoder. A shift
    costs no multiplication and has no parameters.

    Args:
        frame: the image encoder of the frames.
        width: of a cell's vector.
        depth: number of shifts, each with two layers.
        share: of the channels, that come from the next frame, and as many from the one before.
        dropout: probability that a value is dropped in training.
        cells: give every cell of every frame, so that an explanation shows when and where. False gives the mean and the maximum
            over the cells of each frame, so that what follows has fewer positions to read.
    """

    kind: Literal["video_shift"] = "video_shift"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)
    width: int = 256
    depth: int = 2
    share: float = 0.125
    dropout: float = 0.1
    cells: bool = True

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
    """Clips [n, frames, 3, size, size] -> one vector a cell of every frame, or one a frame."""

    def __init__(self, config: ShiftVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.by_cell = config.cells
        self.width = config.width if config.cells else 2 * config.width
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
        values = self.norm(values)
        if self.by_cell:
            return Features(values.flatten(1, 2), cells.mask, cells.extent)
        return Features(mean_and_maximum(values, mask), mask.any(2), moments(self.frames, values.device))


def mean_and_maximum(
    values: Float[Tensor, "n frames cells width"], mask: Bool[Tensor, "n frames cells"]
) -> Float[Tensor, "n frames double"]:
    """Over the real cells of each frame; zeros for a frame without any."""
    real = mask.unsqueeze(-1)
    mean = (values * real.to(values.dtype)).sum(2) / real.sum(2).clamp(min=1).to(values.dtype)
    highest = values.masked_fill(~real, -torch.inf).amax(2)
    return torch.cat([mean, highest.masked_fill(~mask.any(2, keepdim=True), 0)], 2)


def shifted(values: Float[Tensor, "n frames cells width"], moved: int) -> Float[Tensor, "n frames cells width"]:
    """The first ``moved`` channels from the next frame, as many from the one before, the others as they are; zeros beyond the
    ends."""
    later = F.pad(values[:, 1:, :, :moved], (0, 0, 0, 0, 0, 1))
    earlier = F.pad(values[:, :-1, :, moved : 2 * moved], (0, 0, 0, 0, 1, 0))
    return torch.cat([later, earlier, values[..., 2 * moved :]], -1)
