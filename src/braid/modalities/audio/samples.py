"""Recordings as they are, for encoders that read samples instead of a spectrogram."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from braid.config import within
from braid.shapes import Float32

EPSILON = 1e-7  # of a variance, as wav2vec2 has it


@dataclass(frozen=True)
class SamplesConfig:
    """No spectrogram: the samples themselves, as wav2vec2 reads them (arXiv:2006.11477).

    Args:
        step: samples of a frame; they stand side by side where a spectrogram has its bands.
        normalised: give each recording the mean 0 and the variance 1.
    """

    kind: Literal["samples"] = "samples"
    step: int = 320
    normalised: bool = True

    span: ClassVar[float] = 0.0  # silence has one value

    def __post_init__(self) -> None:
        within(self, 1, 65_536, "step")

    def build(self, rate: int) -> "Samples":
        return Samples(self, rate)


class Samples:
    """Samples -> frames of ``step`` samples, the last one filled with silence."""

    bands: ClassVar[bool] = False
    silence: ClassVar[float] = 0.0

    def __init__(self, config: SamplesConfig, rate: int) -> None:
        self.config, self.rate = config, rate

    @property
    def mels(self) -> int:
        """The width of a frame."""
        return self.config.step

    @property
    def seconds(self) -> float:
        """From one frame to the next."""
        return self.config.step / self.rate

    def frames(self, samples: int) -> int:
        """The number of frames of so many samples."""
        return max(1, math.ceil(samples / self.config.step))

    def __call__(self, samples: Float32[np.ndarray, " samples"], goes_on: bool = False) -> Float32[np.ndarray, "frames step"]:
        """The frames of at least one sample."""
        if self.config.normalised:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + EPSILON)
        number = self.frames(len(samples))
        return np.pad(samples, (0, number * self.config.step - len(samples))).reshape(number, -1).astype(np.float32)
