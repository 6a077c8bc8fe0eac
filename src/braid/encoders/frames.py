"""Frames of clips through an image encoder; what encoders of video share."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from braid.encoders.protocol import TwoPartEncoder
from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.modalities import ImageModalityConfig, VideoModality
from braid.records import Features, Padded
from braid.shapes import Bool, Float

WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole frame


class FrameEncoder(nn.Module, ABC):
    """What every encoder of video has: an image encoder for the frames, ``frame``. Its own part is ``read``.

    ``describe`` is the work of the image encoder, or of its first part, and can be cached if that is frozen. Frames under a False
    mask are encoded, because exported graphs have fixed sizes, and their features are masked.

    Args:
        config: of the image encoder.
        context: of the video encoder.
    """

    def __init__(self, config: Any, context: BuildContext) -> None:
        super().__init__()
        modality: VideoModality = context.input
        image = ImageModalityConfig(size=modality.size, mean=modality.config.mean, std=modality.config.std).build()
        self.frames = modality.config.frames
        self.frame = config.build(replace(context, inputs={**context.inputs, context.name: image}))

    @property
    def described_by(self) -> list[nn.Module]:
        """The modules that ``describe`` uses."""
        return list(self.frame.described_by) if isinstance(self.frame, TwoPartEncoder) else [self.frame]

    def forward(self, inputs: Padded) -> Features:
        return self.read(self.describe(inputs))

    def describe(self, inputs: Padded) -> Features:
        """Clips [n, frames, 3, size, size] -> positions [n, frames * cells], with extent (start, end, left, top, right, bottom)
        in 0..1 if the cells have boxes."""
        frames = inputs.values.shape[1]
        pixels = inputs.values.flatten(0, 1)
        images = Padded(pixels, torch.ones_like(pixels[:, 0], dtype=torch.bool))
        found = self.frame.describe(images) if isinstance(self.frame, TwoPartEncoder) else self.frame(images)
        values = found.values.unflatten(0, (-1, frames)).flatten(1, 2)
        mask = found.mask.unflatten(0, (-1, frames)) & inputs.mask.unsqueeze(2)
        extent = None if found.extent is None else over_time(found.extent, frames)
        return Features(values, mask.flatten(1), extent)

    @abstractmethod
    def read(self, described: Features) -> Features:
        """The features of clips, from what ``describe`` gave."""

    def cells(self, described: Features) -> Features:
        """The features of the image encoder, one frame after the other. Features from a cache have no extent, unless each frame
        is one vector."""
        if not isinstance(self.frame, TwoPartEncoder):
            return described
        values, mask = (one.unflatten(1, (self.frames, -1)).flatten(0, 1) for one in (described.values, described.mask))
        real = mask.any(1, keepdim=True)
        found = self.frame.read(Features(values, mask | ~real))
        kept = (found.mask & real).unflatten(0, (-1, self.frames)).flatten(1)
        extent = described.extent if found.extent is None else over_time(found.extent, self.frames)
        return Features(found.values.unflatten(0, (-1, self.frames)).flatten(1, 2), kept, extent)

    def vectors(self, described: Features) -> Features:
        """One vector a frame: the mean of its cells."""
        read = self.cells(described)
        values, mask = (one.unflatten(1, (self.frames, -1)) for one in (read.values, read.mask))
        means = masked_mean(values.flatten(0, 1), mask.flatten(0, 1)).unflatten(0, (-1, self.frames))
        return Features(means, mask.any(2), moments(self.frames, values.device))


def moments(frames: int, device: torch.device) -> Float[Tensor, "frames 6"]:
    """The extent of whole frames."""
    return over_time(torch.tensor([WHOLE], device=device), frames)


def zeroed(values: Float[Tensor, "n frames width"], mask: Bool[Tensor, "n frames"]) -> Float[Tensor, "n frames width"]:
    """Zeros where there is no frame, as beyond the ends of a clip."""
    return values * mask.unsqueeze(-1).to(values.dtype)


def over_time(boxes: Float[Tensor, "cells 4"], frames: int) -> Float[Tensor, "positions 6"]:
    """The boxes of one frame as places in each of the frames."""
    starts = torch.arange(frames, device=boxes.device, dtype=torch.float32).unsqueeze(1) / frames
    times = torch.cat([starts, starts + 1 / frames], 1).repeat_interleave(len(boxes), 0)
    return torch.cat([times, boxes.float().repeat(frames, 1)], 1)
