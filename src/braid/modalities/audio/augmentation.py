"""Random changes to a training recording that leave its meaning alone."""

from dataclasses import dataclass

import numpy as np

from braid.config import within
from braid.errors import UserError
from braid.shapes import Float32

NOISE = (10.0, 40.0)  # decibels that the recording is louder than the noise


@dataclass(frozen=True)
class AudioAugmentation:
    """Random changes to a training recording; a longer one is also read from a random place.

    Args:
        gain: decibels, up to which it becomes louder or quieter.
        shift: share of the recording that moves from its end to its beginning, or the other way, at most.
        noise: probability of white noise, 10 to 40 decibels quieter than the recording.
        masks: stretches of time, and as many of frequency, that are hidden (SpecAugment, arXiv:1904.08779).
        time_mask: share of the frames that one stretch hides, at most.
        mel_mask: share of the bands that one stretch hides, at most.
    """

    gain: float = 6.0
    shift: float = 0.1
    noise: float = 0.2
    masks: int = 2
    time_mask: float = 0.1
    mel_mask: float = 0.15

    def __post_init__(self) -> None:
        within(self, 0, 40, "gain")
        within(self, 0, 1, "shift", "noise", "time_mask", "mel_mask")
        within(self, 0, 100, "masks")
        if max(self.time_mask, self.mel_mask) == 1 and self.masks:
            raise UserError("time_mask or mel_mask is 1, which hides all; set less")


def changed(
    samples: Float32[np.ndarray, " n"], augmentation: AudioAugmentation, rng: np.random.Generator
) -> Float32[np.ndarray, " n"]:
    """The samples shifted, with noise, louder or quieter."""
    shift, gain = rng.uniform(-1, 1, 2) * (augmentation.shift * len(samples), augmentation.gain)
    samples = np.roll(samples, round(shift))
    if rng.random() < augmentation.noise:
        samples = with_noise(samples, rng.uniform(*NOISE), rng)
    return samples * np.float32(10 ** (gain / 20))


def with_noise(samples: Float32[np.ndarray, " n"], decibels: float, rng: np.random.Generator) -> Float32[np.ndarray, " n"]:
    """The samples with white noise that is so much quieter."""
    loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    noise = rng.standard_normal(len(samples), dtype=np.float32)
    return samples + noise * np.float32(loudness * 10 ** (-decibels / 20))


def masked(
    frames: Float32[np.ndarray, "frames mels"], augmentation: AudioAugmentation, rng: np.random.Generator, bands: bool = True
) -> Float32[np.ndarray, "frames mels"]:
    """The frames with stretches of time, and of frequency where they have ``bands``, replaced by their mean."""
    frames, mean = frames.copy(), frames.mean()
    for _ in range(augmentation.masks):
        for part, share in ((frames, augmentation.time_mask), (frames.T, augmentation.mel_mask))[: 1 + bands]:
            width = round(rng.uniform(0, share) * len(part))
            first = rng.integers(0, len(part) - width + 1)
            part[first : first + width] = mean
    return frames
