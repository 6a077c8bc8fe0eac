"""The audio modality: recordings -> log-mel frames, or frames of samples."""

import hashlib
import io
import math
import os
import wave
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image

from braid.config import within
from braid.errors import UserError
from braid.files.reading import read_part, regular
from braid.media import Clip, Recording, open_sound, read_sound
from braid.media.sound import RATE, RATES, SUFFIXES
from braid.media.waveform import waveform
from braid.modalities.audio.augmentation import AudioAugmentation, changed, masked, with_noise
from braid.modalities.audio.spectrogram import LogMelConfig, SpectrogramConfig
from braid.modalities.cells import file_cell
from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, Float32, UInt8

LONGEST = 600.0  # seconds that a model reads at once
CHEAP = 4.0  # seconds of a recording for a first model
SHOWN = 30.0  # seconds that a page plays
SPANS = 20  # units of one recording, at most
STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)  # seconds of a unit
LOUD = 0.0  # decibels between a corrupted recording and its noise
STAND_IN = 32  # frames of what stands for a missing recording
EXAMPLE = 300  # frames of what a graph is traced with: several pieces of an encoder, and no whole number of them
EPSILON = 1e-6
CHECKED = 10.0  # seconds of a file that are decoded to see whether it is damaged


class PreparedSound(NamedTuple):
    """One prepared recording: normalised log-mel frames, or frames of samples. ``mask`` is True where real: everywhere."""

    frames: Float32[np.ndarray, "frames mels"]
    mask: Bool[np.ndarray, " frames"]


@dataclass(frozen=True)
class AudioModalityConfig:
    """The preprocessing of recordings: one channel, one rate, and a log-mel spectrogram.

    Args:
        rate: samples a second; others are resampled.
        seconds: of a longer recording that are read: its middle, or in training with ``augmentation`` a random part.
        windows: parts of ``seconds`` that are read in use, evenly spread, one after another; an encoder averages over them.
        spectrogram: log_mel with settings of your own, that of whisper or ast, or none: samples.
        augmentation: random changes to training recordings; not saved with a model.
        sound_of: an input of clips. In use, a clip without a recording beside it is heard, too, if it has a sound track. Training
            sets it where the clips' own sound is learned from.
    """

    kind: Literal["audio"] = "audio"
    rate: int = RATE
    seconds: float = 10.0
    windows: int = 1
    spectrogram: SpectrogramConfig = field(default_factory=LogMelConfig)
    augmentation: AudioAugmentation | None = None
    sound_of: str = ""

    columns: ClassVar[tuple[str, ...]] = (
        "audio",
        "sound",
        "recording",
        "speech",
        "voice",
        "wav",
        "mp3",
        "clip_audio",
        "audio_path",
        "audio_file",
        "audio_filepath",
    )
    suffixes: ClassVar[frozenset[str]] = SUFFIXES
    input_name: ClassVar[str] = "audio"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within(self, *RATES, "rate")
        within(self, 0.05, LONGEST, "seconds")
        within(self, 1, 100, "windows")
        if self.seconds * self.windows > LONGEST:
            raise UserError(f"windows of {self.seconds:g} s are {self.windows}; together they must have at most {LONGEST:g} s")
        self.spectrogram.build(self.rate)

    def build(self, tokenizer: object = None) -> "AudioModality":
        return AudioModality(self)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "AudioModalityConfig":
        return self

    def cheaper(self) -> "AudioModalityConfig":
        return replace(self, seconds=min(CHEAP, self.seconds), windows=1)

    def augmenting(self) -> "AudioModalityConfig":
        return replace(self, augmentation=self.augmentation or AudioAugmentation())

    def in_use(self) -> "AudioModalityConfig":
        return replace(self, augmentation=None)

    def summary(self) -> str:
        modality = self.build()
        length = f"{self.windows} x {self.seconds:g}" if self.windows > 1 else f"{self.seconds:g}"
        kind = "log-mel frames" if modality.spectrogram.bands else "frames of samples"
        return f"[{modality.length}, {modality.mels}] floats: {kind} of up to {length} s"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "audio", "type": "file", "accept": "audio/*"}]

    @staticmethod
    def key(value: Any) -> Hashable:
        """A path or bytes are their own key, a part has its times, too. Arrays are compared by content. Samples that are computed
        when they are read, as those of scenes, are their own key."""
        if isinstance(value, Clip):
            return (AudioModalityConfig.key(value.file), value.start, value.end)
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, tuple | list) and len(value) == 2:
            if isinstance(value[0], Hashable):
                return (value[0], str(value[1]))
            array = np.asarray(value[0])
            content = hashlib.sha1(np.ascontiguousarray(array).tobytes(), usedforsecurity=False).digest()
            return (array.shape, array.dtype.str, content, str(value[1]))
        return value if isinstance(value, str | bytes) else id(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> Any:
        """A path, the bytes of a file, or (samples, rate); Hugging Face has {bytes, path} or {array, sampling_rate}."""
        ((column, value),) = cells.items()
        if isinstance(value, Mapping) and value.get("array") is not None:
            return (_samples(value["array"], column), value.get("sampling_rate", RATE))
        return file_cell(value, column)

    @staticmethod
    def from_json(value: Any) -> Any:
        return value

    @staticmethod
    def parse(text: str) -> str:
        return text

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        """The file as it is, after a look at its first and its last seconds; a part, or samples in memory, as WAV."""
        with open_sound(value, source) as recording:
            if isinstance(value, Clip | tuple | list):
                return wav(recording.read(0.0, LONGEST, recording.rate), recording.rate), ".wav"
            recording.read(0.0, CHECKED)
            if CHECKED < recording.seconds < math.inf:
                recording.read(recording.seconds - 1, 1.0)
        if not isinstance(value, str | os.PathLike):
            return bytes(value), ".audio"
        inside = read_part(str(value))
        return (regular(Path(value)).read_bytes(), Path(value).suffix.lower()) if inside is None else (inside, ".audio")

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        """The recording, for a page that plays it: at most 30 seconds."""
        named = value.file if isinstance(value, Clip) else value
        name = os.path.basename(named) if isinstance(named, str | os.PathLike) else "recording"
        samples = read_sound(value, source, most=SHOWN)
        return View(f"{name} ({len(samples) / RATE:.1f} s)", media=wav(samples, RATE), media_type="audio/wav")

    @staticmethod
    def picture(value: Any, size: int = 320, source: str = "") -> View:
        """The waveform of the recording, at most 30 seconds of it, where an image is needed."""
        with io.BytesIO() as file:
            Image.fromarray(waveform(read_sound(value, source, most=SHOWN), size, size // 4)).save(file, "PNG")
            return View("a waveform", media=file.getvalue(), media_type="image/png")

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> tuple[Float32[np.ndarray, " _"], int]:
        """The recording, at most 10 minutes of it, under noise as loud as itself."""
        return with_noise(read_sound(value, source, most=LONGEST), LOUD, rng), RATE


class AudioModality:
    """A recording -> ``PreparedSound``; several of them -> ``values [n, frames, mels]``, ``mask [n, frames]``."""

    shared: ClassVar[bool] = True

    def __init__(self, config: AudioModalityConfig) -> None:
        self.config = config
        self.spectrogram = config.spectrogram.build(config.rate)

    @property
    def augments(self) -> bool:
        return self.config.augmentation is not None

    @property
    def mels(self) -> int:
        """Bands of frequency: the width of a frame."""
        return self.spectrogram.mels

    @property
    def length(self) -> int:
        """The most frames that a recording has in use."""
        windows, samples = self.config.windows, round(self.config.seconds * self.config.rate)
        return max(self.spectrogram.frames(samples * windows), self.spectrogram.frames(samples) * windows)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.spectrogram.seconds

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> PreparedSound:
        """Read a recording, or parts of a long one, and compute its frames; a ``PreparedSound`` is returned unchanged.

        Args:
            value: path, bytes of a file, ``Clip``, or (samples, rate); see ``braid.media.open_sound``.
            source: the origin of the value, for messages.
            rng: applies the ``augmentation``, if there is one.
        Raises:
            UserError: naming the file, when it is missing, has no sound, is damaged, or cut short.
        """
        if isinstance(value, PreparedSound):
            return value
        augmentation = self.config.augmentation if rng is not None else None
        with open_sound(value, source) as recording:
            parts = self._parts(recording, rng if augmentation else None)
        if augmentation and rng:
            parts = [(changed(samples, augmentation, rng), goes_on) for samples, goes_on in parts]
        frames = np.concatenate([self.spectrogram(*part) for part in parts])
        frames = masked(frames, augmentation, rng, self.spectrogram.bands) if augmentation and rng else frames
        return PreparedSound(frames, np.ones(len(frames), bool))

    def _parts(self, recording: Recording, rng: np.random.Generator | None) -> list[tuple[Float32[np.ndarray, " _"], bool]]:
        """The samples that are read, and whether the recording goes on after them."""
        starts, length = self._starts(recording.seconds, rng)
        most = round(length * self.config.rate)
        parts = [recording.read(start, length, self.config.rate)[:most] for start in starts]
        return [(samples, len(samples) == most) for samples in parts]

    def _starts(self, whole: float, rng: np.random.Generator | None) -> tuple[list[float], float]:
        """The seconds at which the parts of a recording of ``whole`` seconds begin, and their length."""
        length, windows = self.config.seconds, 1 if rng else self.config.windows
        if math.isinf(whole) or whole <= windows * length:
            return [0.0], windows * length
        if rng:
            return [rng.uniform(0, whole - length)], length
        return [(place + 0.5) * whole / windows - length / 2 for place in range(windows)], length

    def read(self, value: Any, source: str) -> tuple[Float32[np.ndarray, " n"], int]:
        """The samples that the model reads in use, and their rate."""
        with open_sound(value, source) as recording:
            parts = self._parts(recording, None)
        return np.concatenate([samples for samples, _ in parts]), self.config.rate

    def seconds(self, value: Any, source: str, times: Float[np.ndarray, "units 2"]) -> Float[np.ndarray, "units 2"]:
        """The ``times`` of units in seconds from the beginning of the file: a model may read its middle."""
        with open_sound(value, source) as recording:
            starts, length = self._starts(recording.seconds, None)
        window = np.clip((times[:, :1] / length).astype(int), 0, len(starts) - 1)
        moved = np.array(starts)[window] - window * length + (value.start if isinstance(value, Clip) else 0.0)
        return np.asarray(times + moved)

    def pad(self, values: Sequence[PreparedSound]) -> Padded:
        """Stack recordings, each from frame 0 on: ``values [n, frames, mels]`` float32, ``mask [n, frames]``."""
        longest = max(len(value.frames) for value in values)
        frames, mask = np.zeros((len(values), longest, self.mels), np.float32), np.zeros((len(values), longest), bool)
        for row, value in enumerate(values):
            frames[row, : len(value.frames)], mask[row, : len(value.mask)] = value
        return Padded(frames * mask[:, :, None], mask)

    def missing(self) -> PreparedSound:
        return PreparedSound(np.zeros((STAND_IN, self.mels), np.float32), np.ones(STAND_IN, bool))

    def example(self) -> tuple[Padded, bool]:
        frames = min(self.length, EXAMPLE)
        return Padded(np.zeros((3, frames, self.mels), np.float32), np.ones((3, frames), bool)), True

    def size_of(self, value: Any) -> int:
        """Hundredths of a second, where no file has to be opened."""
        if isinstance(value, Clip):
            return 0 if math.isinf(value.length) else round(100 * min(value.length, self.config.seconds))
        if isinstance(value, tuple | list) and len(value) == 2 and hasattr(value[0], "__len__"):
            return min(len(value[0]), round(self.config.seconds * self.config.rate)) * 100 // self.config.rate
        return 0

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """Spans of equal length, at most 20, and none shorter than a position of the encoder."""
        assert extent is not None
        number, whole = int(given.mask[0].sum()), given.mask.shape[1] * self.frame_seconds
        starts, ends = (extent[:, side] * whole for side in (0, 1))
        one = bool((extent[:, 1] - extent[:, 0] >= 1).all())  # a vector of the whole recording
        seconds = number * self.frame_seconds
        apart = 0.0 if one or len(starts) < 2 else float(np.diff(starts).max())
        step = next((step for step in STEPS if step >= max(apart, seconds / SPANS) - EPSILON), seconds)
        edges = np.append(step * np.arange(max(1, round(seconds / step))), seconds)  # a short rest joins the last span
        times = np.stack([edges[:-1], edges[1:]], 1)
        middle = (starts + np.minimum(ends, seconds)) / 2
        inside = (middle >= times[:, :1]) & ((middle < times[:, 1:]) | (times[:, 1:] >= seconds - EPSILON))
        positions = np.broadcast_to(real, (len(times), len(real))) if one else inside & real
        names = tuple(f"{start:.4g}-{end:.4g} s" for start, end in times)
        return Units(names, np.array(positions), times=times, kind="seconds")

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Removed spans are silent."""
        assert units.times is not None
        frames, real = given.values[:1], given.mask[:1]
        silence = frames[real].min() if self.spectrogram.config.span else self.spectrogram.silence
        removed = np.zeros((len(kept), frames.shape[1]), bool)
        for unit, (start, end) in enumerate(np.rint(units.times / self.frame_seconds).astype(int)):
            removed[:, start:end] |= ~kept[:, unit, None]
        silent = np.where((removed & real)[:, :, None], np.asarray(silence, frames.dtype), frames)
        return Padded(silent, np.broadcast_to(real, removed.shape).copy())

    def canvas(self, value: Any, source: str, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """The waveform of what the model reads."""
        return waveform(self.read(value, source)[0], size, size // 4)


def wav(samples: Float32[np.ndarray, " _"], rate: int) -> bytes:
    """Mono samples as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _samples(array: Any, column: str) -> np.ndarray:
    try:
        return np.asarray(array)
    except ValueError:
        raise UserError(f"column {column!r} holds samples of unequal length; give one list of numbers") from None
