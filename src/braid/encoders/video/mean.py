"""A clip as the mean of its frames."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from braid.encoders.frames import FrameEncoder, moments, over_time
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.encoders.protocol import TwoPartEncoder
from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Padded


@dataclass(frozen=True)
class MeanVideoEncoderConfig:
    """The mean of the frames: what is in a clip, not in which order (mean pooling of arXiv:1412.4729).

    Args:
        frame: the image encoder of the frames.
        cells: keep the places of the frames, as those of an image: the mean over time of each. The model then reads a clip as it
            reads images. False gives one vector a clip.
    """

    kind: Literal["video_mean"] = "video_mean"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)
    cells: bool = False

    modality: ClassVar[str] = "video"

    def build(self, context: BuildContext) -> "MeanVideoEncoder":
        return MeanVideoEncoder(self, context)


class MeanVideoEncoder(FrameEncoder):
    """Clips [n, frames, 3, size, size] -> one vector a clip, or a place."""

    def __init__(self, config: MeanVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.width: int = self.frame.width
        self.places = config.cells

    def describe(self, inputs: Padded) -> Features:
        """With ``cells`` and an image encoder in one part, the means themselves, since they take less room in a cache."""
        frames = super().describe(inputs)
        return self._means(frames) if self.places and not isinstance(self.frame, TwoPartEncoder) else frames

    def read(self, described: Features) -> Features:
        if self.places:
            return self._means(self.cells(described)) if isinstance(self.frame, TwoPartEncoder) else described
        frames = self.vectors(described)
        mean = masked_mean(frames.values, frames.mask).unsqueeze(1)
        return Features(mean, frames.mask.any(1, keepdim=True), moments(1, mean.device))

    def _means(self, cells: Features) -> Features:
        """The mean over time of each place: [n, frames * places, width] -> [n, places, width]."""
        values, mask = (one.unflatten(1, (self.frames, -1)).transpose(1, 2) for one in (cells.values, cells.mask))
        means = masked_mean(values.flatten(0, 1), mask.flatten(0, 1)).unflatten(0, values.shape[:2])
        extent = None if cells.extent is None else over_time(cells.extent[: values.shape[1], 2:], 1)
        return Features(means, mask.any(2), extent)
