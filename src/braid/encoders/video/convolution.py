"""Convolutions over the frames of a clip."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from braid.config import within
from braid.encoders.frames import FrameEncoder, zeroed
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.errors import UserError
from braid.layers.context import BuildContext
from braid.records import Features
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class ConvolutionVideoEncoderConfig:
    """Convolutions over time after two-dimensional ones over each frame, instead of three-dimensional ones ((2+1)D,
    arXiv:1711.11248): order and motion in a fraction of the parameters.

    Args:
        frame: the image encoder of the frames.
        width: of a frame's vector.
        depth: number of residual convolutions.
        kernel: frames that a convolution spans; odd.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["video_convolution"] = "video_convolution"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)
    width: int = 256
    depth: int = 2
    kernel: int = 3
    dropout: float = 0.1

    modality: ClassVar[str] = "video"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "kernel")
        within(self, 0, 1, "dropout")
        if self.kernel % 2 == 0:
            raise UserError(f"kernel is {self.kernel}; it must be odd, so that a frame is in the middle")

    def build(self, context: BuildContext) -> "ConvolutionVideoEncoder":
        return ConvolutionVideoEncoder(self, context)


class TimeConvolution(nn.Module):
    """Layer norm, a convolution over time, GELU, a layer over channels; added to its input."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.over_time = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.over_channels = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))

    def forward(self, values: Float[Tensor, "n frames width"], mask: Bool[Tensor, "n frames"]) -> Float[Tensor, "n frames width"]:
        near = self.over_time(zeroed(self.norm(values), mask).transpose(1, 2)).transpose(1, 2)
        return values + self.over_channels(near)


class ConvolutionVideoEncoder(FrameEncoder):
    """Clips [n, frames, 3, size, size] -> one vector a frame, which has read its neighbours."""

    def __init__(self, config: ConvolutionVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.width = config.width
        self.projection = nn.Sequential(nn.Linear(self.frame.width, config.width), nn.LayerNorm(config.width))
        self.blocks = nn.ModuleList(TimeConvolution(config.width, config.kernel, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def read(self, described: Features) -> Features:
        frames = self.vectors(described)
        values = self.projection(frames.values)
        for block in self.blocks:
            values = block(values, frames.mask)
        return Features(self.norm(values), frames.mask, frames.extent)
