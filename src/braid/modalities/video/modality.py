"""The video modality: clips -> frames."""

import hashlib
import io
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image

from braid.config import within
from braid.errors import UserError
from braid.files.reading import archive_of
from braid.media import Clip, FrameLimits, read_frames
from braid.media.augmentation import Augmentation, Box, jittered, random_crop
from braid.modalities.cells import file_cell
from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, UInt8

MAX_SIZE, MAX_FRAMES = 2048, 256  # pixels a side, frames of a clip
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole frame
CHEAP = 128  # pixels a side of frames for a first model
ROOM = 1.25  # size at which frames are decoded that are cropped at random, relative to the input
STRIP = 6  # frames of a filmstrip
COARSE, SEEN = 12, 16  # pixels a side, and frames, of a corrupted clip
KEPT = 64  # frames that are kept of a part or of frames in memory, where a file is needed
QUALITY = 84  # JPEG quality of filmstrips

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".m2v", ".wmv", ".flv", ".3gp", ".3g2", ".ogv"}
    | {".mts", ".m2ts", ".vob", ".divx"}
)


class PreparedVideo(NamedTuple):
    """One prepared clip."""

    pixels: UInt8[np.ndarray, "frames size size 3"]


@dataclass(frozen=True)
class VideoModalityConfig:
    """The preprocessing of clips: frames at evenly spread moments, whose channels are scaled to (value / 255 - mean) / std.

    The clip is divided into as many segments as there are frames (arXiv:1608.00859), and the frame on screen at the centre of
    each is taken; in training, at a random moment of each. A clip with fewer frames is padded and masked.

    Args:
        frames: of a clip.
        size: pixels a side of the square frames.
        resize: squash changes the proportions, crop takes the middle square, pad adds borders of the mean colour.
        mean: of each channel, 0..1.
        std: of each channel, above 0.
        random_moments: take random moments in training; not saved with a model.
        augmentation: random changes to training clips, the same for all frames of a clip; not saved with a model.
        seconds_limit: the longest clip, or part of one, that is read.
        decoding_limit: seconds that decoding one clip may take.
    """

    kind: Literal["video"] = "video"
    frames: int = 8
    size: int = 224
    resize: Literal["squash", "crop", "pad"] = "squash"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    random_moments: bool = True
    augmentation: Augmentation | None = None
    seconds_limit: float = 600.0
    decoding_limit: float = 30.0

    columns: ClassVar[tuple[str, ...]] = ("video", "clip", "movie", "gif", "video_path", "clip_path", "video_file", "video_name")
    suffixes: ClassVar[frozenset[str]] = SUFFIXES
    input_name: ClassVar[str] = "video"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within(self, 1, MAX_SIZE, "size")
        within(self, 1, MAX_FRAMES, "frames")
        within(self, 0.1, math.inf, "seconds_limit", "decoding_limit")
        if min(self.std) <= 0:
            raise UserError(f"std is {list(self.std)}; every channel must be above 0")

    @property
    def limits(self) -> FrameLimits:
        return FrameLimits(seconds=self.seconds_limit, decoding=self.decoding_limit)

    def build(self, tokenizer: object = None) -> "VideoModality":
        return VideoModality(self)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "VideoModalityConfig":
        return self

    def cheaper(self) -> "VideoModalityConfig":
        return replace(self, size=min(CHEAP, self.size))

    def augmenting(self) -> "VideoModalityConfig":
        return replace(self, augmentation=self.augmentation or Augmentation())

    def in_use(self) -> "VideoModalityConfig":
        return replace(self, random_moments=False, augmentation=None)

    def summary(self) -> str:
        return f"[{self.frames}, 3, {self.size}, {self.size}] floats"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "video", "type": "file", "accept": "video/*,image/gif,image/webp"}]

    @staticmethod
    def key(value: Any) -> Hashable:
        """A path or bytes are their own key, a part is its file with its seconds; an array is compared by content, images by
        identity."""
        if isinstance(value, str | bytes):
            return value
        if isinstance(value, Clip):
            return (VideoModalityConfig.key(value.file), value.start, value.end)
        if hasattr(value, "__fspath__"):
            return os.fspath(value)
        if isinstance(value, np.ndarray):
            content = hashlib.sha1(np.ascontiguousarray(value).tobytes(), usedforsecurity=False).digest()
            return (value.shape, value.dtype.str, content)
        if isinstance(value, list | tuple):
            return tuple(VideoModalityConfig.key(frame) for frame in value)
        return id(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> str | bytes | Clip:
        """A path, or the bytes of a file. Hugging Face data sets have {bytes, path}, of which one may be null; with ``start`` or
        ``end``, in seconds, it is a part."""
        ((column, value),) = cells.items()
        said = value if isinstance(value, dict) else {}
        start, end = _seconds(said.get("start"), column) or 0.0, _seconds(said.get("end"), column)
        file = file_cell(value, column)
        return Clip(file, start, end) if start or end is not None else file

    @staticmethod
    def from_json(value: Any) -> Any:
        return value

    @staticmethod
    def parse(text: str) -> str:
        return text

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        """A file as it is. A part of one, or frames in memory, become an animated WebP of at most ``KEPT`` frames."""
        kept = isinstance(value, str | os.PathLike | bytes)
        frames = read_frames(value, source, STRIP if kept else KEPT, longest or 224, square=False)
        if isinstance(value, bytes):
            return value, ".video"
        if isinstance(value, str | os.PathLike) and archive_of(str(value)) is None:
            return Path(value).read_bytes(), Path(value).suffix.lower()
        images = [Image.fromarray(pixels) for pixels in frames.pixels]
        pace = round(1000 * (frames.end - frames.start) / len(images))
        with io.BytesIO() as file:
            images[0].save(file, "WEBP", save_all=True, append_images=images[1:], duration=max(1, pace), lossless=True)
            return file.getvalue(), ".webp"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        """A filmstrip, six frames side by side."""
        frames = read_frames(value, source, STRIP, max(1, size // 2), square=False)
        strip = Image.fromarray(np.concatenate(list(frames.pixels), 1))
        strip.thumbnail((size, size))
        file = value.file if isinstance(value, Clip) else value
        name = os.path.basename(file) if isinstance(file, str | os.PathLike) else "video"
        with io.BytesIO() as content:
            strip.save(content, "JPEG", quality=QUALITY)
            return View(str(name), media=content.getvalue(), media_type="image/jpeg")

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> UInt8[np.ndarray, "frames height width 3"]:
        """The clip at a coarse resolution."""
        images = [Image.fromarray(pixels) for pixels in read_frames(value, source, SEEN, 224, square=False).pixels]
        coarse = [one.resize((COARSE, COARSE), Image.Resampling.BILINEAR) for one in images]
        return np.stack([np.asarray(one.resize(images[0].size, Image.Resampling.NEAREST)) for one in coarse])


class VideoModality:
    """A path, bytes, a ``Clip``, an array of frames or a list of images -> ``PreparedVideo``; several of them ->
    ``values [n, frames, 3, size, size]``."""

    shared: ClassVar[bool] = True

    def __init__(self, config: VideoModalityConfig) -> None:
        self.config = config

    @property
    def size(self) -> int:
        return self.config.size

    @property
    def augments(self) -> bool:
        return self.config.random_moments or self.config.augmentation is not None

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> PreparedVideo:
        """Read the frames of one clip; a ``PreparedVideo`` is returned unchanged.

        Args:
            value: path, encoded bytes, ``Clip``, array [frames, height, width, 3] uint8, or a list of images. GIFs, animated
                WebPs and PNGs are clips, and a still image is a clip of one frame.
            source: the origin of the value, for messages.
            rng: takes random moments, and applies the ``augmentation``, as the settings say.
        Raises:
            UserError: naming the file, when it is missing, no video, damaged, too large, too long, or takes too long to decode.
        """
        if isinstance(value, PreparedVideo):
            return value
        config = self.config
        changes = config.augmentation if rng is not None else None
        plain = config.resize == "squash" and changes is None
        side = self.size if plain or changes is None else round(ROOM * self.size)
        moments = rng if config.random_moments else None
        pixels = read_frames(value, source, config.frames, side, plain, moments, config.limits).pixels
        if plain:
            return PreparedVideo(pixels)
        images = [Image.fromarray(one) for one in pixels]
        box: Box = (0.0, 0.0, float(images[0].width), float(images[0].height))
        size = self.size
        if changes is not None and rng is not None:
            box, size = random_crop(images[0], changes, rng), max(1, round(changes.scale * self.size))
            flip, seed = rng.random() < changes.horizontal_flip, int(rng.integers(1 << 32))
            images = [jittered(one, changes, np.random.default_rng(seed)) for one in images]
        box = _middle(box) if config.resize == "crop" else box
        result = np.stack([self._square(one, size, box) for one in images])
        return PreparedVideo(np.ascontiguousarray(result[:, :, ::-1]) if changes is not None and flip else result)

    def _square(self, image: Image.Image, size: int, box: Box) -> UInt8[np.ndarray, "size size 3"]:
        """A part of a frame as a square: with borders, or with other proportions."""
        if self.config.resize != "pad":
            return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))
        width, height = box[2] - box[0], box[3] - box[1]
        scale = size / max(width, height)
        inner = max(1, round(scale * width)), max(1, round(scale * height))
        red, green, blue = (round(255 * value) for value in self.config.mean)
        result = Image.new("RGB", (size, size), (red, green, blue))
        result.paste(image.resize(inner, Image.Resampling.BILINEAR, box), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return np.asarray(result)

    def pad(self, values: Sequence[PreparedVideo]) -> Padded:
        """Stack clips: normalised ``values [n, frames, 3, size, size]`` float32, ``mask [n, frames]``."""
        shape = (len(values), self.config.frames, 3, *values[0].pixels.shape[1:3])
        padded, mask = np.zeros(shape, np.float32), np.zeros(shape[:2], dtype=bool)
        scale = (1 / (255 * np.array(self.config.std))).astype(np.float32).reshape(3, 1, 1)
        shift = (np.array(self.config.mean) / np.array(self.config.std)).astype(np.float32).reshape(3, 1, 1)
        for row, value in enumerate(values):
            number = len(value.pixels)
            padded[row, :number] = value.pixels.transpose(0, 3, 1, 2) * scale - shift
            mask[row, :number] = True
        return Padded(padded, mask)

    def missing(self) -> PreparedVideo:
        return PreparedVideo(np.zeros((1, self.size, self.size, 3), np.uint8))

    def example(self) -> tuple[Padded, bool]:
        frames, size = self.config.frames, self.size
        return Padded(np.zeros((3, frames, 3, size, size), np.float32), np.ones((3, frames), bool)), False

    def size_of(self, value: Any) -> int:
        return 0

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """Moments, or places in them where the encoder keeps places. Their boxes are places in the ``canvas``, which shows all
        frames; features of the whole clip share its frames."""
        assert extent is not None
        frames, number = given.mask.shape[1], int(given.mask[0].sum())
        if (extent[:, :2] == (0, 1)).all():
            names, boxes = _names(range(number), number), np.stack([_cell(k, number, WHOLE) for k in range(number)])
            times = _shares(range(number), number)
            return Units(names, np.broadcast_to(real, (number, len(real))).copy(), boxes, times, kind="moments")
        places = np.flatnonzero(real)
        moments = [min(number - 1, int(start * frames + 0.5)) for start in extent[places, 0]]
        boxes = np.stack([_cell(k, number, extent[place, 2:].tolist()) for k, place in zip(moments, places, strict=True)])
        times = _shares(moments, number)
        return Units(_names(moments, number), np.eye(len(real), dtype=bool)[places], boxes, times, kind="moments")

    def read(self, value: Any, source: str) -> Any:
        return value

    def seconds(self, value: Any, source: str, times: Float[np.ndarray, "units 2"]) -> Float[np.ndarray, "units 2"]:
        """The ``times`` of units, which are shares of the clip, in seconds from the beginning of the file."""
        frames = read_frames(value, source, 1, 16, limits=self.config.limits)
        return np.asarray(frames.start + times * (frames.end - frames.start))

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Removed moments, and places in them, get the mean colour of the clip."""
        assert units.boxes is not None
        number, size = int(given.mask[0].sum()), given.values.shape[-1]
        mean = given.values[0, :number].mean((0, 2, 3)).reshape(1, 3, 1, 1)
        values = np.repeat(given.values[:1], len(kept), 0)
        columns, rows = _grid(number)
        for lost, box in zip(~kept.T, units.boxes * np.array((columns, rows, columns, rows)), strict=True):
            column, row = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
            left, top, right, bottom = np.rint((box - (column, row, column, row)) * size).astype(int)
            values[lost, row * columns + column, :, top:bottom, left:right] = mean
        return Padded(values, np.repeat(given.mask[:1], len(kept), 0))

    def canvas(self, value: Any, source: str, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """All frames as the model reads them, in rows."""
        pixels = self.prepare(value, source).pixels
        columns, rows = _grid(len(pixels))
        side = self.size
        sheet = np.full((rows * side, columns * side, 3), 255, np.uint8)
        for k, frame in enumerate(pixels):
            row, column = divmod(k, columns)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = frame
        image = Image.fromarray(sheet)
        image.thumbnail((size, size))
        return np.asarray(image)


def _seconds(value: Any, column: str) -> float | None:
    """
    Raises:
        UserError: when it is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"column {column!r}: start and end are seconds, found {value!r}")
    return float(value)


def _middle(box: Box) -> Box:
    """The middle square of a box."""
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    left, top = left + (right - left - side) / 2, top + (bottom - top - side) / 2
    return (left, top, left + side, top + side)


def _grid(number: int) -> tuple[int, int]:
    """Columns and rows of a canvas."""
    columns = math.ceil(math.sqrt(number))
    return columns, -(-number // columns)


def _cell(moment: int, number: int, box: Iterable[float]) -> Float[np.ndarray, "4"]:
    """The box of a place in a frame, as a box of the canvas."""
    columns, rows = _grid(number)
    row, column = divmod(moment, columns)
    left, top, right, bottom = box
    return np.array(((column + left) / columns, (row + top) / rows, (column + right) / columns, (row + bottom) / rows))


def _shares(moments: Iterable[int], number: int) -> Float[np.ndarray, "units 2"]:
    """Where moments start and end, as shares of the clip."""
    first = np.fromiter(moments, np.float64)
    return np.stack([first, first + 1], 1) / number


def _names(moments: Iterable[int], number: int) -> tuple[str, ...]:
    """Shares of the clip: its length is not part of what a model reads."""
    return tuple(f"{100 * moment / number:.0f}-{100 * (moment + 1) / number:.0f}%" for moment in moments)
