"""Pictures -> square arrays: safe decoding of whatever people have, three ways to make it square, and augmentation."""

import base64
import errno
import glob
import io
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageEnhance, ImageOps, UnidentifiedImageError

from braid.config import within
from braid.errors import UserError
from braid.parts import read_part
from braid.records import Padded
from braid.shapes import Bool, Float, UInt8

MAX_SIZE = 4096  # pixels, of the square that a model sees
MAX_PIXELS = 100_000_000  # 100 megapixels: more than any camera gives, and 300 MB once decoded
ROOM = 1.5  # a JPEG is decoded at least so much larger than the square: at 1.25, half of 640 pixels for 256 cost 0.7 CIDEr-2015
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


class Picture(NamedTuple):
    """One prepared picture. ``mask`` is False where it was letterboxed."""

    pixels: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Augmentation:
    """Chance changes to a training picture that leave its caption true.

    Args:
        horizontal_flip: the chance of mirroring.
        crop_scale: least and greatest share of the picture's area that a random crop keeps.
        brightness, contrast, colour: each is scaled by a factor in 1 - x .. 1 + x.
    """

    horizontal_flip: float = 0.5
    crop_scale: tuple[float, float] = (0.7, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"crop_scale is {list(self.crop_scale)}; give the least and greatest share of the area, such as [0.7, 1.0]"
            )
        for name in ("horizontal_flip", "brightness", "contrast", "colour"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")


@dataclass(frozen=True)
class ImageModalityConfig:
    """How a picture becomes an array: ``size`` pixels square, channels scaled to (value / 255 - mean) / std.

    ``resize``: squash changes the proportions, crop keeps the middle square, pad letterboxes and masks the border.
    """

    kind: Literal["image"] = "image"
    size: int = 224
    resize: Literal["squash", "crop", "pad"] = "squash"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    name: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, MAX_SIZE, "size")
        if min(self.std) <= 0:
            raise UserError(f"std is {list(self.std)}; every channel must be above 0")

    def build(self, tokenizer: object = None) -> "ImageModality":
        return ImageModality(self)


class ImageModality:
    """A path, bytes, a PIL image or an array -> ``Picture``; several pictures -> ``values [n, 3, size, size]``."""

    def __init__(self, config: ImageModalityConfig) -> None:
        self.config = config

    @property
    def size(self) -> int:
        return self.config.size

    def prepare(
        self, value: Any, source: str = "", augmentation: Augmentation | None = None, rng: np.random.Generator | None = None
    ) -> Picture:
        """Decode and resize one picture.

        Args:
            value: path, encoded bytes, PIL image, or array: uint8 or uint16, or float in 0..1; [height, width, 3]
                (or 1 or 4 channels, or none).
            source: where the value stands, for messages.
            augmentation: with ``rng``, change the picture by chance.
        Raises:
            UserError: naming the file, when it is missing, no picture, cut short, or too large.
        """
        image = self.decoded(value, source)
        box = (0.0, 0.0, float(image.width), float(image.height))
        if augmentation is None or rng is None:
            return self._squared(image, box)
        picture = self._squared(_jittered(image, augmentation, rng), _random_box(image, augmentation, rng))
        if rng.random() < augmentation.horizontal_flip:
            picture = Picture(np.ascontiguousarray(picture.pixels[:, ::-1]), np.ascontiguousarray(picture.mask[:, ::-1]))
        return picture

    def decoded(self, value: Any, source: str = "") -> Image.Image:
        """The picture in its own size (a large JPEG at a fraction of it), upright and in RGB; raises as ``prepare`` does."""
        return _decoded(value, _where(value, source), self.size)

    def pad(self, values: Sequence[Picture]) -> Padded:
        """Stack pictures: normalised ``values [n, 3, size, size]`` float32, ``mask [n, size, size]``."""
        pixels = np.stack([picture.pixels for picture in values]).transpose(0, 3, 1, 2)
        scale = (1 / (255 * np.array(self.config.std))).astype(np.float32).reshape(3, 1, 1)
        shift = (np.array(self.config.mean) / np.array(self.config.std)).astype(np.float32).reshape(3, 1, 1)
        masks = np.stack([picture.mask for picture in values])
        normalised = np.ascontiguousarray(pixels, dtype=np.float32) * scale - shift
        return Padded(normalised * masks[:, None], masks)

    def pictures(self, values: Float[np.ndarray, "n 3 height width"]) -> UInt8[np.ndarray, "n height width 3"]:
        """``pad`` backwards: numbers as a model takes and gives them -> pixels."""
        scale, shift = (np.array(given, np.float32).reshape(3, 1, 1) for given in (self.config.std, self.config.mean))
        return np.rint(np.clip(values * scale + shift, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def _squared(self, image: Image.Image, box: tuple[float, float, float, float]) -> Picture:
        size, (left, top, right, bottom) = self.size, box
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
            return Picture(np.asarray(canvas), mask)
        return Picture(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box)), mask)


def thumbnail(value: Any, size: int, source: str = "") -> bytes:
    """A picture upright in its own proportions, at most ``size`` pixels a side, as JPEG.

    Raises:
        UserError: naming the file, when it cannot be read.
    """
    image = _decoded(value, _where(value, source), size).copy()  # a picture in memory stays as it is
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=84)
    return file.getvalue()


def is_picture(name: str) -> bool:
    """Whether a name ends as a picture's does."""
    return Path(name).suffix.lower() in SUFFIXES


def inline_thumbnail(value: Any, size: int) -> str:
    """``thumbnail`` as a data URI, which a page can hold; "" where the picture cannot be read."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(value, size)).decode("ascii")
    except UserError:
        return ""


def image_files(paths: Iterable[str | Path]) -> list[str]:
    """The pictures that files, patterns (``*.png``) and folders (searched through) mean, each once, folders sorted.

    Texts, because a hundred thousand Path objects take four times their memory.

    Raises:
        UserError: for a pattern or a folder in which there is no picture.
    """
    found: dict[str, None] = {}
    for given in paths:
        if str(given).startswith(("http://", "https://")):
            raise UserError(f"{given} is a web address; download the picture and give its path")
        path = Path(given).expanduser()
        if path.is_dir():
            inside = sorted(_files_in(path))
        elif glob.has_magic(str(path)) and not path.exists():
            inside = sorted(glob.glob(str(path), recursive=True))
        else:
            inside = [str(path)]  # a missing file is told of with the other unreadable ones
        if not inside:
            raise UserError(f"{path}: no picture there; looked for {', '.join(sorted(SUFFIXES))}")
        found.update(dict.fromkeys(inside))
    return list(found)


def _files_in(folder: Path) -> Iterator[str]:
    for home, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(home, name)
            # a broken link is told of, too
            if os.path.splitext(name)[1].lower() in SUFFIXES and (os.path.isfile(file) or os.path.islink(file)):
                yield file


def _where(value: Any, source: str) -> str:
    """The file, and the row that names it, once each."""
    if not isinstance(value, str | os.PathLike):
        return source or "image"
    return source if source and str(value) in source else ": ".join(part for part in (source, str(value)) if part)


def _decoded(value: Any, where: str, size: int) -> Image.Image:
    """The picture upright, in RGB, on white where it was transparent."""
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return _from_array(np.asarray(value), where)
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        raise UserError(f"{where} is a web address; download the picture and give its path")
    if not isinstance(value, str | os.PathLike | bytes | bytearray | Image.Image):
        raise UserError(f"{where}: expected a picture (path, bytes, PIL image or array), found {type(value).__name__}")
    try:
        if isinstance(value, Image.Image):
            return _rgb(_limited(value, where))  # Pillow reads the file only now
        inside = read_part(value) if isinstance(value, str) else None
        value = value if inside is None else inside
        with _opened(io.BytesIO(value) if isinstance(value, bytes | bytearray) else _regular(os.fspath(value), where)) as image:
            _limited(image, where)
            room = round(ROOM * size)
            image.draft("RGB", (room, room))  # lets JPEG decode a large photo at a fraction of its size
            return _rgb(image)
    except FileNotFoundError:
        raise UserError(f"{where} does not exist; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{where} is a folder; give a picture file") from None
    except UnidentifiedImageError:
        raise UserError(f"{where} is not a picture that can be read; save it as PNG or JPEG") from None
    except Image.DecompressionBombError:
        raise UserError(f"{where} has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller") from None
    except PermissionError:
        raise UserError(f"{where} may not be read; change its permissions") from None
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:  # what decoders raise on damaged files
        raise UserError(f"{where} is damaged or cut short ({error}); copy it again") from None


def _regular(path: str, where: str) -> str:
    """A pipe or a device would be waited for, maybe for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{where} is a link that leads back to itself; give the file itself") from None
        raise
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{where} is a pipe or a device; save the picture to a file")
    return path


def _opened(file: str | io.BytesIO) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked next, with a message
        return Image.open(file)


def _limited(image: Image.Image, where: str) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{where} is {image.width} x {image.height}; at most {MAX_PIXELS // 1_000_000} megapixels are read, make it smaller"
        )
    if image.width < 1 or image.height < 1:
        raise UserError(f"{where} is {image.width} x {image.height}; it has no pixels")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    """Copies only where something changes: two copies of a photo of 500 x 375 took as long as decoding it."""
    image.load()  # a damaged file is found out here
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):  # 16 bits a pixel: 0..65535
        return Image.fromarray((np.clip(np.asarray(image, dtype=np.float32), 0, 65535) / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray, where: str) -> Image.Image:
    shape = list(array.shape)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in shape:
        raise UserError(f"{where}: an array must be [height, width, 3]; this one is {shape}")
    if array.dtype == np.uint16:
        array = array // 257
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise UserError(f"{where}: an array of floats must lie in 0..1, without NaN; give uint8 or divide by 255")
        array = np.rint(array * 255)
    elif array.dtype.kind not in "ui" or array.min() < 0 or array.max() > 255:
        raise UserError(f"{where}: an array must be uint8, uint16, or float in 0..1; this one is {array.dtype}")
    array = array.astype(np.uint8)
    return _rgb(_limited(Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array), where))


def _random_box(image: Image.Image, augmentation: Augmentation, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A crop of the picture's own proportions, somewhere in it."""
    share = float(np.sqrt(rng.uniform(*augmentation.crop_scale)))
    width, height = share * image.width, share * image.height
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    return (left, top, left + width, top + height)


def _jittered(image: Image.Image, augmentation: Augmentation, rng: np.random.Generator) -> Image.Image:
    changes = (
        (ImageEnhance.Brightness, augmentation.brightness),
        (ImageEnhance.Contrast, augmentation.contrast),
        (ImageEnhance.Color, augmentation.colour),
    )
    for enhance, amount in changes:
        if amount:
            image = enhance(image).enhance(float(rng.uniform(1 - amount, 1 + amount)))
    return image
