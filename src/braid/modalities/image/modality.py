"""The image modality: images -> square arrays."""

import hashlib
import io
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
from braid.media.augmentation import Augmentation, jittered, random_crop
from braid.modalities.cells import file_cell
from braid.modalities.image.decoding import SUFFIXES, decoded, thumbnail
from braid.modalities.protocol import Does
from braid.records import Padded, Units, View
from braid.shapes import Bool, Float, UInt8

MAX_SIZE = 4096  # pixels a side
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole image
PATCHES = 7  # a side, of an image whose encoder gives one vector
CHEAP = 128  # pixels a side of images for a first model
COARSE = 12  # pixels a side of a corrupted image
QUALITY = 92  # JPEG quality of resized images


class PreparedImage(NamedTuple):
    """One prepared image. ``mask`` is False in the letterbox border."""

    pixels: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class ImageModalityConfig:
    """The preprocessing of images: channels are scaled to (value / 255 - mean) / std.

    Args:
        size: pixels a side of the square input.
        resize: squash changes the proportions, crop takes the middle square, pad letterboxes and masks the border.
        mean: of each channel, 0..1.
        std: of each channel, above 0.
        augmentation: random changes to training images; not saved with a model.
    """

    kind: Literal["image"] = "image"
    size: int = 224
    resize: Literal["squash", "crop", "pad"] = "squash"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    augmentation: Augmentation | None = None

    columns: ClassVar[tuple[str, ...]] = (
        "image",
        "photo",
        "picture",
        "img",
        "image_path",
        "filepath",
        "file_path",
        "file_name",
        "filename",
        "file",
        "path",
    )
    suffixes: ClassVar[frozenset[str]] = SUFFIXES
    input_name: ClassVar[str] = "image"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        within(self, 1, MAX_SIZE, "size")
        if min(self.std) <= 0:
            raise UserError(f"std is {list(self.std)}; every channel must be above 0")

    def build(self, tokenizer: object = None) -> "ImageModality":
        return ImageModality(self)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "ImageModalityConfig":
        return self

    def cheaper(self) -> "ImageModalityConfig":
        return replace(self, size=min(CHEAP, self.size))

    def augmenting(self) -> "ImageModalityConfig":
        return replace(self, augmentation=self.augmentation or Augmentation())

    def in_use(self) -> "ImageModalityConfig":
        return replace(self, augmentation=None)

    def summary(self) -> str:
        return f"[3, {self.size}, {self.size}] floats"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "image", "type": "file", "accept": "image/*"}]

    @staticmethod
    def key(value: Any) -> Hashable:
        """A path or bytes are their own key; an array is compared by content, a PIL image by identity."""
        if isinstance(value, str | bytes):
            return value
        if hasattr(value, "__fspath__"):
            return os.fspath(value)
        if isinstance(value, np.ndarray):
            content = hashlib.sha1(np.ascontiguousarray(value).tobytes(), usedforsecurity=False).digest()
            return (value.shape, value.dtype.str, content)
        return id(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> str | bytes:
        """A path, or the bytes of an image. Hugging Face data sets have {bytes, path}, of which one may be null."""
        ((column, value),) = cells.items()
        return file_cell(value, column)

    @staticmethod
    def from_json(value: Any) -> Any:
        return value

    @staticmethod
    def parse(text: str) -> str:
        return text

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        image = decoded(value, source, longest or 224)
        with io.BytesIO() as file:
            if longest and max(image.size) > longest:
                image = image.copy()
                image.thumbnail((longest, longest), Image.Resampling.BICUBIC)
                image.save(file, "JPEG", quality=QUALITY)
                return file.getvalue(), ".jpg"
            if isinstance(value, bytes):
                return value, ".image"
            if isinstance(value, str | os.PathLike) and archive_of(str(value)) is None:
                return Path(value).read_bytes(), Path(value).suffix.lower()
            image.save(file, "PNG")
            return file.getvalue(), ".png"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        name = os.path.basename(value) if isinstance(value, str | os.PathLike) else "image"
        return View(name, media=thumbnail(value, size, source), media_type="image/jpeg")

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> Image.Image:
        """The image at a coarse resolution."""
        image = decoded(value, source, 224)
        return image.resize((COARSE, COARSE), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.NEAREST)


class ImageModality:
    """A path, bytes, a PIL image or an array -> ``PreparedImage``; several of them -> ``values [n, 3, size, size]``."""

    shared: ClassVar[bool] = True
    does: ClassVar[Does] = "generates images"

    def __init__(self, config: ImageModalityConfig) -> None:
        self.config = config

    @property
    def size(self) -> int:
        return self.config.size

    @property
    def augments(self) -> bool:
        return self.config.augmentation is not None

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> PreparedImage:
        """Decode and resize one image; a ``PreparedImage`` is returned unchanged.

        Args:
            value: path, encoded bytes, PIL image, or array: uint8 or uint16, or float in 0..1; [height, width, 3]
                (or 1 or 4 channels, or none).
            source: the origin of the value, for messages.
            rng: applies the ``augmentation``, if there is one.
        Raises:
            UserError: naming the file, when it is missing, not an image, cut short, or too large.
        """
        if isinstance(value, PreparedImage):
            return value
        image, augmentation = self.decoded(value, source), self.config.augmentation
        box = (0.0, 0.0, float(image.width), float(image.height))
        if augmentation is None or rng is None:
            return self._squared(image, box, self.size)
        size = max(1, round(augmentation.scale * self.size))
        result = self._squared(jittered(image, augmentation, rng), random_crop(image, augmentation, rng), size)
        if rng.random() < augmentation.horizontal_flip:
            result = PreparedImage(np.ascontiguousarray(result.pixels[:, ::-1]), np.ascontiguousarray(result.mask[:, ::-1]))
        return result

    def decoded(self, value: Any, source: str = "") -> Image.Image:
        """The image in its own size (a large JPEG at a fraction of it), upright and in RGB; raises like ``prepare``."""
        return decoded(value, source, self.size)

    def pad(self, values: Sequence[PreparedImage]) -> Padded:
        """Stack images: normalised ``values [n, 3, size, size]`` float32, ``mask [n, size, size]``."""
        pixels = np.stack([image.pixels for image in values]).transpose(0, 3, 1, 2)
        scale = (1 / (255 * np.array(self.config.std))).astype(np.float32).reshape(3, 1, 1)
        shift = (np.array(self.config.mean) / np.array(self.config.std)).astype(np.float32).reshape(3, 1, 1)
        masks = np.stack([image.mask for image in values])
        normalised = np.ascontiguousarray(pixels, dtype=np.float32) * scale - shift
        return Padded(normalised * masks[:, None], masks)

    def images(self, values: Float[np.ndarray, "n 3 height width"]) -> UInt8[np.ndarray, "n height width 3"]:
        """The inverse of ``pad``: normalised values -> pixels."""
        scale, shift = (np.array(given, np.float32).reshape(3, 1, 1) for given in (self.config.std, self.config.mean))
        return np.rint(np.clip(values * scale + shift, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def prepare_target(self, value: Any, source: str, rng: np.random.Generator | None = None) -> PreparedImage:
        return self.prepare(value, source, rng)

    def pad_targets(self, values: Sequence[PreparedImage]) -> Padded:
        return self.pad(values)

    def missing(self) -> PreparedImage:
        shape = (self.size, self.size)
        return PreparedImage(np.zeros((*shape, 3), np.uint8), np.ones(shape, bool))

    def example(self) -> tuple[Padded, bool]:
        size = self.size
        return Padded(np.zeros((3, 3, size, size), np.float32), np.ones((3, size, size), bool)), False

    def size_of(self, value: Any) -> int:
        return 0

    def units(self, given: Padded, real: Bool[np.ndarray, " length"], extent: Float[np.ndarray, "length _"] | None) -> Units:
        """Patches, from the boxes that every image encoder gives; vectors of whole images share a grid of patches."""
        assert extent is not None
        places = np.flatnonzero(real)
        if (extent == WHOLE).all():
            left, top = (axis.ravel() / PATCHES for axis in np.meshgrid(np.arange(PATCHES), np.arange(PATCHES)))
            boxes = np.stack([left, top, left + 1 / PATCHES, top + 1 / PATCHES], 1)
            names = tuple(f"patch {place + 1}" for place in range(len(boxes)))
            return Units(names, np.broadcast_to(real, (len(boxes), len(real))).copy(), boxes, kind="patches")
        names = tuple(f"patch {place + 1}" for place in range(len(places)))
        return Units(names, np.eye(len(real), dtype=bool)[places], extent.astype(np.float64)[places], kind="patches")

    def without(self, given: Padded, units: Units, kept: Bool[np.ndarray, "rows units"]) -> Padded:
        """Removed patches get the mean colour of the image."""
        assert units.boxes is not None
        pixels, real = given.values[:1], given.mask[:1]
        mean = (pixels * real[:, None]).sum((2, 3), keepdims=True) / max(int(real.sum()), 1)
        size = np.array([pixels.shape[3], pixels.shape[2]] * 2)
        removed = np.zeros((len(kept), pixels.shape[2], pixels.shape[3]), dtype=bool)
        for unit in np.flatnonzero(units.removable):
            left, top, right, bottom = np.rint(units.boxes[unit] * size).astype(int)
            removed[:, top:bottom, left:right] |= ~kept[:, unit, None, None]
        painted = np.where((removed & real)[:, None], mean.astype(pixels.dtype), pixels)
        return Padded(painted, np.broadcast_to(real, removed.shape).copy())

    def canvas(self, value: Any, source: str, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """A squashed image in its own proportions; otherwise the image as the model reads it."""
        squashed = self.config.resize == "squash"
        image = self.decoded(value, source) if squashed else Image.fromarray(self.prepare(value, source).pixels)
        image = image.copy()
        image.thumbnail((size, size))
        return np.asarray(image)

    def _squared(self, image: Image.Image, box: tuple[float, float, float, float], size: int) -> PreparedImage:
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        mask = np.ones((size, size), dtype=bool)
        if self.config.resize == "crop":
            side = min(width, height)
            left, top = left + (width - side) / 2, top + (height - side) / 2
            box = (left, top, left + side, top + side)
        elif self.config.resize == "pad":
            scale = size / max(width, height)
            inner = (max(1, round(width * scale)), max(1, round(height * scale)))
            first = ((size - inner[0]) // 2, (size - inner[1]) // 2)
            canvas = Image.new("RGB", (size, size))
            canvas.paste(image.resize(inner, Image.Resampling.BILINEAR, box), first)
            mask[:] = False
            mask[first[1] : first[1] + inner[1], first[0] : first[0] + inner[0]] = True
            return PreparedImage(np.asarray(canvas), mask)
        return PreparedImage(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box)), mask)
