"""An image encoder over a spectrogram: its pieces are images of one channel."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import named, within
from braid.encoders.image import EfficientNetEncoderConfig, ImageEncoderConfig
from braid.errors import UserError
from braid.layers.context import BuildContext
from braid.layers.convolution import InvertedResidualEncoder
from braid.layers.sound_levels import LEAST, SoundLevels, SoundLevelsConfig
from braid.layers.spectrogram import in_pieces, pieces_of_mask, times, waves
from braid.modalities import AudioModalityConfig, ImageModalityConfig, Tokenizer
from braid.records import Features, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class FrameAudioEncoderConfig:
    """Any image encoder over pieces of the spectrogram (transfer from photos: arXiv:2007.11154).

    The encoder gets the only channel three times: to a convolution, this is the sum of its first weights over the colours. The
    features are averaged over the frequencies, and their maximum is taken: a position is a stretch of time.

    Args:
        frame: the image encoder.
        frames: of the spectrogram in one piece.
        size: pixels a side of the square image that a piece becomes.
        levels: give several depths of a mobilenet or an efficientnet, null gives the last feature map.
    """

    kind: Literal["audio_frame"] = "audio_frame"
    frame: ImageEncoderConfig = field(default_factory=EfficientNetEncoderConfig)
    frames: int = 128
    size: int = 128
    levels: SoundLevelsConfig | None = None

    modality: ClassVar[str] = "audio"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "frames", "size")
        if self.levels is not None and self.size % LEAST:
            raise UserError(f"size is {self.size}, and levels needs a multiple of {LEAST}; change it")

    @property
    def source(self) -> str:
        """The source of a pretrained image encoder, which a run takes over."""
        return str(getattr(self.frame, "source", ""))

    def taken_over(
        self, folder: Path, modality: AudioModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["FrameAudioEncoderConfig", AudioModalityConfig, dict[str, Tokenizer]]:
        """This part with an image encoder without its source, and images of the encoder's size."""
        frame: Any = self.frame
        frame, image, _ = frame.taken_over(folder, ImageModalityConfig(size=self.size), file)
        return replace(self, frame=frame, size=image.size), modality, {}

    def build(self, context: BuildContext) -> "FrameAudioEncoder":
        image = ImageModalityConfig(size=self.size)
        with named("frame"):
            frame = self.frame.build(replace(context, inputs={**context.inputs, context.name: image.build()}))
        return FrameAudioEncoder(self, frame)


class FrameAudioEncoder(nn.Module):
    """Spectrogram [n, length, mels] -> mean and maximum over the frequencies, for each column of a piece's cells; or levels."""

    mean: Tensor
    rows: Tensor
    spans: Tensor

    def __init__(self, config: FrameAudioEncoderConfig, frame: nn.Module) -> None:
        super().__init__()
        self.config, self.frame = config, frame
        self.levels: SoundLevels | None = None
        if config.levels is not None:
            if not isinstance(frame, InvertedResidualEncoder) or frame.levels is not None:
                kinds = "levels needs a frame of kind mobilenet or efficientnet without levels of its own"
                raise UserError(f"{kinds}; choose one, or set levels to null")
            self.levels = SoundLevels(config.levels, frame.shorten(config.levels.stages))
            self.width, self.spans = self.levels.width, torch.tensor([[0.0, 1.0]])
            return
        self.width = 2 * int(frame.width)  # type: ignore[arg-type]
        mean, rows, spans = _columns(self._boxes())
        for name, value in (("mean", mean), ("rows", rows), ("spans", spans)):
            self.register_buffer(name, value, persistent=False)

    @property
    def described_by(self) -> list[nn.Module]:
        """The modules that ``describe`` uses: if they are frozen, its result can be cached."""
        return [self.frame]

    def forward(self, inputs: Padded) -> Features:
        return self.read(self.describe(inputs))

    def describe(self, inputs: Padded) -> Features:
        """The result of the image encoder."""
        images, seen = self._images(inputs)
        pieces = (inputs.values.shape[1] + self.config.frames - 1) // self.config.frames  # graphs round towards 0
        if self.levels is None:
            cells = self.frame(Padded(images, seen))
            values = torch.cat([self.mean.to(cells.values.dtype) @ cells.values, cells.values[:, self.rows].amax(2)], 2)
            mask = cells.mask[:, self.rows[:, 0]]
        else:
            maps = self.frame.maps(images)  # type: ignore[operator]
            values = self.levels.describe(maps, seen[:, 0]).unsqueeze(1)
            mask = seen[:, 0].any(1, keepdim=True)
        extent = times(pieces, self.config.frames, inputs.values.shape[1], self.spans.to(values.device))
        return Features(_joined(values, pieces), _joined(mask, pieces), extent)

    def read(self, described: Features) -> Features:
        values, mask = described.values, described.mask
        if self.levels is not None:
            values, mask = self.levels.read(values, mask)
            if not self.levels.pieces:
                return Features(values, mask, values.new_tensor([[0.0, 1.0]]))
        when = waves(values.shape[1], self.width, values.device).to(values.dtype)
        return Features(values + when, mask, described.extent)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a pretrained image encoder."""
        self.frame.load(folder)  # type: ignore[operator]

    def standard_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names for those of a weight file of the image encoder."""
        translate = getattr(self.frame, "standard_names", dict)
        own = self.state_dict()
        named = {f"frame.{name}": value for name, value in translate(state).items()}
        kept = named if self.levels is None else {name: value for name, value in named.items() if name in own}
        return kept | {name: value for name, value in own.items() if not name.startswith("frame.")}

    def _images(self, inputs: Padded) -> tuple[Float[Tensor, "m 3 size size"], Bool[Tensor, "m size size"]]:
        """The pieces as images, high frequencies below, and where they are real."""
        frames, size = self.config.frames, self.config.size
        images = in_pieces(inputs, frames).flatten(0, 1).transpose(1, 2).unsqueeze(1)
        real = pieces_of_mask(inputs.mask, frames).flatten(0, 1).unsqueeze(1)
        if images.shape[2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
            real = F.interpolate(real.float(), size) > 0
        return images.expand(-1, 3, -1, -1), real.expand(-1, size, -1)

    @torch.no_grad()
    def _boxes(self) -> Float[Tensor, "cells 4"]:
        """The boxes of the cells of an image."""
        size, training = self.config.size, self.frame.training
        blank = Padded(torch.zeros(1, 3, size, size), torch.ones(1, size, size, dtype=torch.bool))
        boxes: Tensor = self.frame.eval()(blank).extent
        self.frame.train(training)
        return boxes


def _joined(values: Tensor, pieces: int) -> Tensor:
    """[n * pieces, positions, ...] -> [n, pieces * positions, ...]."""
    return values.unflatten(0, (-1, pieces)).flatten(1, 2)


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
