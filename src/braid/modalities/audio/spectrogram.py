"""Log-mel spectrograms in numpy: the energy of a recording by time and frequency, on a scale as ears hear it."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from braid.config import within
from braid.errors import UserError
from braid.modalities.audio.samples import SamplesConfig
from braid.shapes import Float, Float32

DECADE = math.log(10)  # in natural logarithms, which all figures here are
PREEMPHASIS = 0.97  # of Kaldi
TRAINED_RATE = 16_000  # Hz, of Whisper and AST
CHUNK = 128  # frames that are transformed at once: they stay in the processor's cache
Scale = Literal["slaney", "htk", "kaldi"]


@dataclass(frozen=True)
class LogMelConfig:
    """A log-mel spectrogram of your own settings; the defaults suit sounds and speech at 16 kHz.

    Args:
        window: seconds of one frame.
        hop: seconds from one frame to the next.
        points: of the Fourier transform; 0 takes the next power of two.
        mels: bands of frequency.
        low: Hz, where the lowest band begins.
        high: Hz, where the highest band ends; 0 is half the rate.
        scale: the formula of the mel scale; kaldi has triangles on that scale instead of on Hz.
        area: give each band the same area instead of the same height.
        framing: centred has a frame around every hop, the ends mirrored; kaldi has frames inside the recording only, without
            their mean, and with more of their high frequencies.
        floor: the least energy, so that silence has a logarithm.
        span: the least logarithm below the loudest one; 0 does not limit it.
        mean: of the logarithm, which is subtracted.
        std: by which the rest is divided.
    """

    kind: Literal["log_mel"] = "log_mel"
    window: float = 0.025
    hop: float = 0.01
    points: int = 0
    mels: int = 64
    low: float = 20.0
    high: float = 0.0
    scale: Scale = "htk"
    area: bool = False
    framing: Literal["centred", "kaldi"] = "centred"
    floor: float = 1e-8
    span: float = 0.0
    mean: float = -7.0
    std: float = 6.0

    def __post_init__(self) -> None:
        within(self, 0.001, 1, "window", "hop")
        within(self, 0, 65_536, "points")
        within(self, 1, 512, "mels")
        within(self, 0, math.inf, "low", "high", "span")
        within(self, 1e-12, 1, "floor")
        if self.std <= 0:
            raise UserError(f"std is {self.std}; it must be above 0")

    def build(self, rate: int) -> "LogMel":
        return LogMel(self, rate)


@dataclass(frozen=True)
class WhisperConfig:
    """The spectrogram that Whisper reads (arXiv:2212.04356).

    Args:
        mels: bands of frequency: 80, or 128 for large-v3.
    """

    kind: Literal["whisper"] = "whisper"
    mels: int = 80

    def build(self, rate: int) -> "LogMel":
        _check_rate(self.kind, rate)
        bands = LogMelConfig(
            points=400,
            mels=self.mels,
            low=0.0,
            scale="slaney",
            area=True,
            floor=1e-10,
            span=8 * DECADE,
            mean=-4 * DECADE,
            std=4 * DECADE,
        )
        return LogMel(bands, rate)


@dataclass(frozen=True)
class ASTConfig:
    """The spectrogram that the audio spectrogram transformer reads (arXiv:2104.01778).

    Args:
        mels: bands of frequency.
        mean: of the logarithm, in AudioSet.
        std: of the logarithm, in AudioSet; twice as much divides.
    """

    kind: Literal["ast"] = "ast"
    mels: int = 128
    mean: float = -4.2677393
    std: float = 4.5689974

    def build(self, rate: int) -> "LogMel":
        _check_rate(self.kind, rate)
        bands = LogMelConfig(mels=self.mels, scale="kaldi", framing="kaldi", floor=2.0**-23, mean=self.mean, std=2 * self.std)
        return LogMel(bands, rate)


SpectrogramConfig = LogMelConfig | WhisperConfig | ASTConfig | SamplesConfig


def _check_rate(kind: str, rate: int) -> None:
    if rate != TRAINED_RATE:
        raise UserError(f"spectrogram {kind} was made for {TRAINED_RATE:,} Hz, and rate is {rate:,}; set rate to {TRAINED_RATE}")


class LogMel:
    """Samples -> normalised log-mel frames."""

    bands: ClassVar[bool] = True  # a frame has bands of frequency side by side

    def __init__(self, config: LogMelConfig, rate: int) -> None:
        self.config, self.rate = config, rate
        self.hop = max(1, round(config.hop * rate))
        self._length = max(2, round(config.window * rate))
        points = config.points or 1 << (self._length - 1).bit_length()
        high = config.high or rate / 2
        if points < self._length:
            raise UserError(f"points is {points}; the window has {self._length} samples at {rate:,} Hz; set it higher, or to 0")
        if not config.low < high <= rate / 2:
            raise UserError(f"low is {config.low:g} and high is {high:g}; they must rise, up to half the rate ({rate / 2:g})")
        self._points, centred = points, config.framing == "centred"
        self._window = np.hanning(self._length + centred)[: self._length]  # periodic, as it is usual for centred frames
        self._filters = mel_filters(config.mels, points // 2 + 1, rate, config.low, high, config.scale, config.area)

    @property
    def mels(self) -> int:
        return self.config.mels

    @property
    def seconds(self) -> float:
        """From one frame to the next."""
        return self.hop / self.rate

    @property
    def silence(self) -> float:
        """The value of silence, unless the loudest moment limits it from below (``span``)."""
        return (math.log(self.config.floor) - self.config.mean) / self.config.std

    def frames(self, samples: int) -> int:
        """The number of frames of so many samples."""
        if self.config.framing == "centred":
            return max(1, -(-samples // self.hop))
        return 1 + max(0, samples - self._length) // self.hop

    def __call__(self, samples: Float32[np.ndarray, " samples"], goes_on: bool = False) -> Float32[np.ndarray, "frames mels"]:
        """The frames of at least one sample.

        Args:
            goes_on: the recording does not end here, so its end is mirrored; otherwise silence follows.
        """
        number, config = self.frames(len(samples)), self.config
        framed = sliding_window_view(self._extended(samples, goes_on), self._length)[:: self.hop]
        result = np.empty((number, config.mels), np.float32)
        for first in range(0, number, CHUNK):
            part = framed[first : min(first + CHUNK, number)]
            if config.framing == "kaldi":
                part = part - part.mean(1, keepdims=True, dtype=np.float64)
                part[:, 1:] -= PREEMPHASIS * part[:, :-1]
                part[:, 0] *= 1 - PREEMPHASIS
            spectrum = np.fft.rfft(part * self._window, self._points)
            power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
            np.matmul(power, self._filters, out=result[first : first + CHUNK])
        np.log(np.maximum(result, np.float32(config.floor), out=result), out=result)
        if config.span:
            np.maximum(result, result.max() - np.float32(config.span), out=result)
        result -= np.float32(config.mean)
        result /= np.float32(config.std)
        return result

    def _extended(self, samples: Float32[np.ndarray, " _"], goes_on: bool) -> Float32[np.ndarray, " _"]:
        """With what the frames at both ends need beyond the samples."""
        if self.config.framing == "kaldi":
            return np.pad(samples, (0, max(0, self._length - len(samples))))
        half = self._length // 2
        if not goes_on:
            samples = np.pad(samples, (0, half))
        return np.pad(samples, (half, half if goes_on else 0), mode="reflect")


@cache
def mel_filters(
    mels: int, bins: int, rate: int, low: float, high: float, scale: Scale, area: bool
) -> Float32[np.ndarray, "bins mels"]:
    """Triangles of equal width on the mel scale, as in Slaney's Auditory Toolbox, HTK or Kaldi."""
    lowest, highest = _mel(np.array([low, high]), scale)
    edges = np.linspace(lowest, highest, mels + 2)
    if scale == "kaldi":
        hertz = edges
        given = _mel(np.arange(bins) * (rate / 2 / (bins - 1)), scale)
    else:
        hertz, given = _hertz(edges, scale), np.linspace(0, rate / 2, bins)
    widths, away = np.diff(hertz), hertz - given[:, None]
    filters = np.maximum(0, np.minimum(-away[:, :-2] / widths[:-1], away[:, 2:] / widths[1:]))
    if area:
        filters *= 2 / (hertz[2:] - hertz[:-2])
    return filters.astype(np.float32)


# Slaney's scale: linear up to 1,000 Hz, then 27 steps for a factor of 6.4
_CORNER, _LINEAR, _STEP = 1000.0, 3 / 200, math.log(6.4) / 27


def _mel(hertz: Float[np.ndarray, " _"], scale: Scale) -> Float[np.ndarray, " _"]:
    if scale != "slaney":
        return (1127.0 if scale == "kaldi" else 2595.0 / DECADE) * np.log1p(hertz / 700)
    return np.where(hertz < _CORNER, _LINEAR * hertz, _CORNER * _LINEAR + np.log(np.maximum(hertz, _CORNER) / _CORNER) / _STEP)


def _hertz(mels: Float[np.ndarray, " _"], scale: Scale) -> Float[np.ndarray, " _"]:
    if scale != "slaney":
        return 700 * np.expm1(mels / (1127.0 if scale == "kaldi" else 2595.0 / DECADE))
    corner = _CORNER * _LINEAR
    return np.where(mels < corner, mels / _LINEAR, _CORNER * np.exp(_STEP * (mels - corner)))
