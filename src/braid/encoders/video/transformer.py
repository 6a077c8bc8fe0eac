"""A transformer over the frames of a clip."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.config import within
from braid.encoders.frames import FrameEncoder
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.layers.attention import EncoderBlock
from braid.layers.context import BuildContext
from braid.records import Features


@dataclass(frozen=True)
class TransformerVideoEncoderConfig:
    """A transformer over the frames' vectors, with learned positions in time: the factorised encoder of arXiv:2103.15691.

    Args:
        frame: the image encoder of the frames.
        width: of a frame's vector.
        depth: number of transformer blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["video_transformer"] = "video_transformer"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)
    width: int = 256
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "video"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "TransformerVideoEncoder":
        return TransformerVideoEncoder(self, context)


class TransformerVideoEncoder(FrameEncoder):
    """Clips [n, frames, 3, size, size] -> one vector a frame, which has read the others."""

    def __init__(self, config: TransformerVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.width = config.width
        self.projection = nn.Sequential(nn.Linear(self.frame.width, config.width), nn.LayerNorm(config.width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.frames, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def read(self, described: Features) -> Features:
        frames = self.vectors(described)
        values = self.dropout(self.projection(frames.values) + self.positions)
        for block in self.blocks:
            values = block(values, frames.mask.unsqueeze(1))
        return Features(self.norm(values), frames.mask, frames.extent)
