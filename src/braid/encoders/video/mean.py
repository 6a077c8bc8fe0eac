"""A clip as the mean of its frames."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from braid.encoders.frames import FrameEncoder, moments
from braid.encoders.image import ImageEncoderConfig, MobileNetEncoderConfig
from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features


@dataclass(frozen=True)
class MeanVideoEncoderConfig:
    """The mean of the frames' vectors: what is in a clip, not in which order (mean pooling of arXiv:1412.4729).

    Args:
        frame: the image encoder of the frames.
    """

    kind: Literal["video_mean"] = "video_mean"
    frame: ImageEncoderConfig = field(default_factory=MobileNetEncoderConfig)

    modality: ClassVar[str] = "video"

    def build(self, context: BuildContext) -> "MeanVideoEncoder":
        return MeanVideoEncoder(self, context)


class MeanVideoEncoder(FrameEncoder):
    """Clips [n, frames, 3, size, size] -> one vector a clip."""

    def __init__(self, config: MeanVideoEncoderConfig, context: BuildContext) -> None:
        super().__init__(config.frame, context)
        self.width: int = self.frame.width

    def read(self, described: Features) -> Features:
        frames = self.vectors(described)
        mean = masked_mean(frames.values, frames.mask).unsqueeze(1)
        return Features(mean, frames.mask.any(1, keepdim=True), moments(1, mean.device))
