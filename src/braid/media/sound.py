"""Sound from files: mono, at any rate, by parts. Only what is wanted is decoded, so a long recording costs no memory."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from braid.errors import UserError, install_command
from braid.media.clip import Clip
from braid.media.opened import File, container, opened, where_of
from braid.shapes import Float32, Shaped

RATE = 16_000  # samples a second
SUFFIXES = frozenset(
    {".wav", ".wave", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b", ".aac", ".wma", ".aif", ".aiff"}
    | {".aifc", ".au", ".caf", ".amr", ".mka", ".weba"}
)
MOST_SECONDS = 3 * 3600.0  # that are decoded to reach a part of a file in which one cannot seek
RATES = (1_000, 768_000)
LOUDEST = 8.0  # 18 dB above full scale; beyond it, samples are on another scale
SHORT = 0.1  # seconds that may lack at the end of a file: some headers count a frame too many
PREROLL = 0.1  # seconds that are decoded before a part, because codecs overlap their frames
BLOCK = 1 << 18  # samples that are decoded at once, all channels together
CHANNELS = 64
RAW = ("aac", "ac3", "eac3", "amr")  # formats of FFmpeg that do not say their length
SAVE_AS = "WAV, FLAC, Ogg or MP3"
MALFORMED = 3  # the code of libsndfile for a damaged file of a format that it knows
UNKNOWN = 1 << 60  # frames; libsndfile says so of a stream without a length

# the first bytes of files that libsndfile reads: WAV, FLAC, Ogg, AIFF, CAF, AU, MP3 (not AAC, whose layer is 0)
_SOUNDFILE = re.compile(
    rb"(RIFF|RF64)....WAVE|riff\x2e\x91|fLaC|OggS|FORM....AIF[FC]|caff|\.snd|ID3|\xff[\xe2-\xe7\xea-\xef\xf2-\xf7\xfa-\xff]",
    re.DOTALL,
)


@runtime_checkable
class _Decoder(Protocol):
    """``seconds`` is infinite if the file does not say; ``exact`` tells that a file that ends earlier is cut short."""

    rate: int
    seconds: float
    exact: bool

    def blocks(self, first: int, number: int) -> Iterator[Float32[np.ndarray, " _"]]:
        """Mono samples, from sample ``first`` on: ``number`` of them, or fewer at the end of the file."""
        ...


@dataclass(frozen=True)
class Recording:
    """An open recording, or a part of one. ``seconds`` is its length; infinite if the file does not say."""

    decoder: _Decoder
    where: str
    start: float
    seconds: float

    @property
    def rate(self) -> int:
        """Samples a second, of the file."""
        return self.decoder.rate

    def read(self, start: float, length: float, rate: int = RATE) -> Float32[np.ndarray, " _"]:
        """Mono samples in -1..1, at most ``length`` seconds from ``start`` on; fewer where the recording ends.

        Channels are averaged; another rate is made by the filter of soxr. A file that only estimates its length is read from its
        beginning where there is nothing at ``start``.

        Raises:
            UserError: when there are none, or they are damaged, or not numbers.
        """
        length = min(length, self.seconds - start)
        first, number = round((self.start + start) * self.rate), max(1, round(length * self.rate))
        blocks = _limited(self.decoder.blocks(first, number), number)
        result = _resampled(blocks, self.rate, rate, self.where)
        got, lacking = len(result) / rate, number / self.rate - len(result) / rate
        if self.decoder.exact and lacking > SHORT:
            says = f"it should last {self.decoder.seconds:.1f} s, and ends after {self.start + start + got:.1f} s"
            raise UserError(f"{self.where} is cut short: {says}; copy it again")
        if not len(result) and start > 0 and not self.decoder.exact:  # the file is shorter than was estimated
            return self.read(0.0, length, rate)
        if not len(result):
            raise UserError(f"{self.where} holds no sound; remove it or record it again")
        return _sane(result, self.where)


def read_sound(value: Any, source: str = "", rate: int = RATE, most: float = MOST_SECONDS) -> Float32[np.ndarray, " _"]:
    """The mono samples of a recording from its beginning, at most ``most`` seconds; see ``open_sound`` and ``Recording.read``."""
    with open_sound(value, source) as recording:
        return recording.read(0.0, most, rate)


def has_sound(value: Any, source: str = "") -> bool:
    """Whether a recording, or a clip that has a sound track, can be opened."""
    try:
        with open_sound(value, source):
            return True
    except UserError:
        return False


@contextmanager
def open_sound(value: Any, source: str = "") -> Iterator[Recording]:
    """Open a recording.

    Args:
        value: a path, the bytes of a file, a ``Clip``, or (samples, rate): samples [n] or [n, channels], integers or floats in
            -1..1. The sound of a video file is read, too.
        source: the origin of the value, for messages.
    Raises:
        UserError: naming the file, when it is missing, has no sound, is damaged, or ends before the part begins.
    """
    part = value if isinstance(value, Clip) else Clip("")
    value = value.file if isinstance(value, Clip) else value
    where = where_of(value, source, "recording")
    if isinstance(value, tuple | list) and len(value) == 2:
        samples, rate = value
        yield _part(_Samples(samples, rate, where), part, where)
    elif isinstance(value, str | bytes | bytearray | memoryview | os.PathLike):
        with opened(value, where, "recording", SAVE_AS) as file, _decoder(file, where) as decoder:
            yield _part(decoder, part, where)
    else:
        kinds = "a path, bytes, Clip or (samples, rate)"
        raise UserError(f"{where}: expected a recording ({kinds}), found {type(value).__name__}")


def _part(decoder: _Decoder, part: Clip, where: str) -> Recording:
    if part.start >= decoder.seconds:
        raise UserError(f"{where} lasts {decoder.seconds:.1f} s, and the part starts at {part.start:g} s; start it earlier")
    return Recording(decoder, where, part.start, min(part.length, decoder.seconds - part.start))


@contextmanager
def _decoder(file: File, where: str) -> Iterator[_Decoder]:
    """libsndfile for what it knows, PyAV for everything else."""
    if not _SOUNDFILE.match(_start(file)):
        with container(file, where, "audio") as inside:
            yield _Av(inside, where)
        return
    try:
        import soundfile
    except ImportError:
        raise UserError(f"{where} needs soundfile to be read; run: {install_command('audio')}") from None
    try:
        sound = soundfile.SoundFile(os.fsencode(file) if isinstance(file, str) else file)
    except soundfile.LibsndfileError as error:
        if error.code == MALFORMED:
            raise
        sound = None
    if sound is not None and sound.seekable():
        with sound:
            yield _SoundFile(sound, where)
        return
    with container(file, where, "audio") as inside:  # a rare codec in a known format
        yield _Av(inside, where)


def _start(file: File) -> bytes:
    if isinstance(file, str):
        with open(file, "rb") as opened_file:
            return opened_file.read(16)
    return file.getvalue()[:16]


class _SoundFile:
    """A file by libsndfile, which seeks to any sample."""

    def __init__(self, file: Any, where: str) -> None:
        self._file = file
        self.rate = _checked_rate(file.samplerate, where)
        _check_channels(file.channels, where)
        self.exact = 0 <= file.frames < UNKNOWN
        self.seconds = file.frames / self.rate if self.exact else math.inf
        if self.exact and not file.frames:
            raise UserError(f"{where} holds no sound; remove it or record it again")

    def blocks(self, first: int, number: int) -> Iterator[Float32[np.ndarray, " _"]]:
        self._file.seek(first)
        size = max(1, BLOCK // self._file.channels)
        while number > 0:
            block = self._file.read(min(size, number), dtype="float32", always_2d=True)
            if not len(block):
                return
            number -= len(block)
            yield _mono(block)


class _Av:
    """The first sound track of a file by PyAV, which seeks to a frame and drops what is before the part."""

    exact = False  # many formats only estimate their length

    def __init__(self, inside: Any, where: str) -> None:
        if not inside.streams.audio:
            raise UserError(f"{where} has no sound track; give a recording, or leave out the sound of this row")
        self._inside, self._stream, self._where = inside, inside.streams.audio[0], where
        self._stream.thread_type = "NONE"
        self.rate = _checked_rate(self._stream.rate or 0, where)
        self._origin = (inside.start_time or 0) / 1e6
        self._used = inside.format.name in RAW
        self.seconds = self._counted() if self._used else self._told()

    def _told(self) -> float:
        """Seconds, as the file says."""
        length = self._stream.duration and float(self._stream.duration * self._stream.time_base)
        length = length or (self._inside.duration and self._inside.duration / 1e6)
        return length if length and length > 0 else math.inf

    def _counted(self) -> float:
        """Seconds of all packets, which are not decoded: FFmpeg guesses the length of raw streams from their first frames."""
        seconds = 0.0
        for packet in self._inside.demux(self._stream):
            seconds += float((packet.duration or 0) * self._stream.time_base)
            if seconds > MOST_SECONDS:
                break
        return seconds or math.inf

    def blocks(self, first: int, number: int) -> Iterator[Float32[np.ndarray, " _"]]:
        """Frames whose time is before the part are decoded and dropped; a file without times is counted from its beginning."""
        sought = first > PREROLL * self.rate
        if sought or self._used:
            self._inside.seek(round((self._origin + max(0.0, first / self.rate - PREROLL)) * 1e6), backward=True)
        self._used, passed = True, 0
        place: int | None = None
        for block, time in self._decoded():
            if place is None:  # below 0 where a codec begins before the sound
                known = time is not None
                place = round(((time or 0.0) - self._origin) * self.rate) if known else first if sought else 0
                yield np.zeros(min(max(0, place - first), number), np.float32)  # it begins later than the clip
            yield block[max(0, first - place) :]
            place += len(block)
            passed += len(block)
            if place >= first + number:
                return
            if passed > number + MOST_SECONDS * self.rate:
                raise UserError(f"{self._where}: its part is {MOST_SECONDS / 3600:g} h away; save it as {SAVE_AS}")

    def _decoded(self) -> Iterator[tuple[Float32[np.ndarray, " _"], float | None]]:
        """Mono blocks, and the time of each in seconds."""
        import av

        packed = av.AudioResampler(format="flt")  # PyAV reads planes of 8 channels and more beyond their end
        for frame in self._inside.decode(self._stream):
            channels = frame.layout.nb_channels
            _check_channels(channels, self._where)
            if frame.sample_rate != self.rate:
                raise UserError(f"{self._where} changes its rate, {self.rate} to {frame.sample_rate} Hz; save it as {SAVE_AS}")
            for converted in packed.resample(frame):
                if converted.format.name != "flt" or converted.layout.nb_channels != channels:
                    raise UserError(f"{self._where} changes its channels; save it as {SAVE_AS}")
                yield _mono(converted.to_ndarray().reshape(-1, channels)), frame.time


class _Samples:
    """Samples in memory."""

    exact = False

    def __init__(self, samples: Any, rate: Any, where: str) -> None:
        self.rate = _checked_rate(rate, where)
        try:
            array = np.asarray(samples)
        except Exception as error:  # tensors on a GPU, with a gradient, sparse
            reason = str(error).partition(".")[0]
            raise UserError(
                f"{where}: a {type(samples).__name__} that numpy cannot read ({reason}); give a numpy array"
            ) from None
        shape = list(array.shape)
        if array.ndim not in (1, 2) or 0 in shape or (array.ndim == 2 and shape[1] > CHANNELS):
            hint = "; transpose it" if array.ndim == 2 and 0 < shape[0] <= CHANNELS < shape[1] else ""
            raise UserError(f"{where}: samples must be [n] or [n, channels]; these are {shape}{hint}")
        if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype not in SCALES):
            raise UserError(f"{where}: samples must be float, int16, int32 or uint8; these are {array.dtype}")
        self._array = array if array.ndim == 2 else array[:, None]
        self.seconds = len(array) / self.rate

    def blocks(self, first: int, number: int) -> Iterator[Float32[np.ndarray, " _"]]:
        size = max(1, BLOCK // self._array.shape[1])
        for start in range(first, min(first + number, len(self._array)), size):
            block = self._array[start : min(start + size, first + number)]
            zero, full = SCALES.get(self._array.dtype, (0, 1))
            yield _mono(((block - np.float32(zero)) / np.float32(full)).astype(np.float32) if full > 1 else block)


SCALES = {np.dtype(name): scale for name, scale in (("int8", (0, 1 << 7)), ("int16", (0, 1 << 15)), ("int32", (0, 1 << 31)))}
SCALES[np.dtype("uint8")] = (128, 1 << 7)


def _checked_rate(rate: Any, where: str) -> int:
    number = float(rate) if isinstance(rate, int | float | np.number) else math.nan
    if not number.is_integer() or not RATES[0] <= number <= RATES[1]:
        shown = repr(rate) if math.isnan(number) else f"{number:,g} Hz"
        raise UserError(f"{where} has a rate of {shown}; {RATES[0]:,} to {RATES[1]:,} Hz are read")
    return int(number)


def _check_channels(channels: int, where: str) -> None:
    if channels > CHANNELS:
        raise UserError(f"{where} has {channels} channels; at most {CHANNELS} are read")


def _mono(block: Shaped[np.ndarray, "n channels"]) -> Float32[np.ndarray, " n"]:
    return (block[:, 0] if block.shape[1] == 1 else block.mean(1)).astype(np.float32, copy=False)


def _limited(blocks: Iterator[Float32[np.ndarray, " _"]], number: int) -> Iterator[Float32[np.ndarray, " _"]]:
    for block in blocks:
        if number <= 0:
            return
        yield block[:number]
        number -= len(block)


def _resampled(blocks: Iterator[Float32[np.ndarray, " _"]], given: int, wanted: int, where: str) -> Float32[np.ndarray, " _"]:
    """All blocks in one array. The filter works block by block, so that what it holds does not grow."""
    if given == wanted:
        return np.concatenate([np.zeros(0, np.float32), *blocks])
    try:
        import soxr
    except ImportError:
        raise UserError(f"{where} has {given} Hz and needs soxr; run: {install_command('audio')}") from None
    stream = soxr.ResampleStream(given, wanted, 1, dtype="float32")
    parts = [stream.resample_chunk(block) for block in blocks]
    return np.concatenate([*parts, stream.resample_chunk(np.zeros(0, np.float32), last=True)])


def _sane(samples: Float32[np.ndarray, " _"], where: str) -> Float32[np.ndarray, " _"]:
    most = float(np.abs(samples).max())
    if not math.isfinite(most):
        raise UserError(f"{where} holds values that are not numbers (NaN or infinite); save it again with 16 bits")
    if most > LOUDEST:
        raise UserError(f"{where} has samples up to {most:,.0f}; floats in -1..1 are read, so divide them or save 16 bits")
    return samples
