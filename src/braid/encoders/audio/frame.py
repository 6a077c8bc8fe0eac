"""An image encoder over a spectrogram: its pieces are images of one channel."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import named, within
from braid.encoders.image import EfficientNetEncoderConfig, ImageEncoderConfig
from braid.layers.context import BuildContext
from braid.layers.spectrogram import in_pieces, pieces_of_mask, times
from braid.modalities import ImageModalityConfig
from braid.records import Features, Padded
from braid.shapes import Float


@dataclass(frozen=True)
class FrameAudioEncoderConfig:
    """Any image encoder over pieces of the spectrogram (transfer from photos: arXiv:2007.11154).

    The only channel is given to the encoder three times: to a convolution, this is the sum of its first weights over the colours.
    The features are averaged over the frequencies, and their maximum is taken: a position is a stretch of time.

    Args:
        frame: the image encoder.
        frames: of the spectrogram in one piece.
        size: pixels a side of the square image that a piece becomes.
    """

    kind: Literal["audio_frame"] = "audio_frame"
    frame: ImageEncoderConfig = field(default_factory=EfficientNetEncoderConfig)
    frames: int = 128
    size: int = 128

    modality: ClassVar[str] = "audio"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "frames", "size")

    def build(self, context: BuildContext) -> "FrameAudioEncoder":
        image = ImageModalityConfig(size=self.size)
        with named("frame"):
            frame = self.frame.build(replace(context, inputs={**context.inputs, context.name: image.build()}))
        return FrameAudioEncoder(self, frame)


class FrameAudioEncoder(nn.Module):
    """Spectrogram [n, length, mels] -> mean and maximum over the frequencies, for each column of a piece's cells."""

    mean: Tensor
    rows: Tensor
    spans: Tensor

    def __init__(self, config: FrameAudioEncoderConfig, frame: nn.Module) -> None:
        super().__init__()
        self.config, self.frame = config, frame
        self.width = 2 * int(frame.width)  # type: ignore[call-overload]
        mean, rows, spans = _columns(self._boxes())
        for name, value in (("mean", mean), ("rows", rows), ("spans", spans)):
            self.register_buffer(name, value, persistent=False)

    @property
    def described_by(self) -> list[nn.Module]:
        """The modules that ``describe`` uses: if they are frozen, its result can be cached."""
        return [self.frame]

    def describe(self, inputs: Padded) -> Features:
        return self(inputs)

    def read(self, described: Features) -> Features:
        return described

    def forward(self, inputs: Padded) -> Features:
        frames, size = self.config.frames, self.config.size
        pieces, real = in_pieces(inputs, frames), pieces_of_mask(inputs.mask, frames)
        images = pieces.flatten(0, 1).transpose(1, 2).unsqueeze(1)
        seen = real.flatten(0, 1).unsqueeze(1).expand(-1, size, -1)
        if (frames, inputs.values.shape[2]) != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
            seen = F.adaptive_max_pool2d(seen.unsqueeze(1).float(), (size, size)).squeeze(1) > 0
        cells = self.frame(Padded(images.expand(-1, 3, -1, -1), seen))
        pooled = torch.cat([self.mean.to(cells.values.dtype) @ cells.values, cells.values[:, self.rows].amax(2)], 2)
        mask = cells.mask[:, self.rows[:, 0]]
        number, length = pieces.shape[1], inputs.values.shape[1]
        values = pooled.unflatten(0, (-1, number)).flatten(1, 2)
        return Features(values, mask.unflatten(0, (-1, number)).flatten(1, 2), times(number, frames, length, self.spans))

    def standard_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names for those of a weight file of the image encoder."""
        translate = getattr(self.frame, "standard_names", dict)
        return {f"frame.{name}": value for name, value in translate(state).items()}

    @torch.no_grad()
    def _boxes(self) -> Float[Tensor, "cells 4"]:
        """The boxes of the cells of an image."""
        size, device = self.config.size, next(self.frame.parameters()).device
        training = self.frame.training
        blank = torch.zeros(1, 3, size, size, device=device)
        boxes: Tensor = self.frame.eval()(Padded(blank, torch.ones(1, size, size, dtype=torch.bool, device=device))).extent
        self.frame.train(training)
        return boxes.cpu()


def _columns(boxes: Float[Tensor, "cells 4"]) -> tuple[Tensor, Tensor, Float[Tensor, "columns 2"]]:
    """The cells of each stretch of time, from left to right: their weights in the mean [columns, cells], their numbers
    [columns, rows], and the stretches. Cells of the whole image count only where there are no others."""
    sides = [(round(left, 5), round(right, 5)) for left, _, right, _ in boxes.tolist()]
    spans = sorted({side for side in sides if side != (0.0, 1.0)}) or [(0.0, 1.0)]
    cells = [[cell for cell, side in enumerate(sides) if side == span] for span in spans]
    most = max(map(len, cells))
    mean = torch.zeros(len(spans), len(sides))
    for row, numbers in zip(mean, cells, strict=True):
        row[numbers] = 1 / len(numbers)
    rows = torch.tensor([numbers + numbers[:1] * (most - len(numbers)) for numbers in cells])
    return mean, rows, torch.tensor(spans)
