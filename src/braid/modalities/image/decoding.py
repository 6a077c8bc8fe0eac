"""Image files by path, pattern and folder, and safe decoding: paths, bytes, tar members, PIL images, arrays."""

import errno
import io
import math
import os
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from braid.errors import UserError
from braid.files import file_named
from braid.files.foreign import foreign
from braid.files.paths import not_a_path, shortened
from braid.files.reading import find_files, has_suffix, read_part
from braid.modalities.image.colour import to_srgb

# without formats that run other programs, contain other files, or are no pictures
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
# other images that a folder may hold, which are not read, and what to do
NOT_READ = {
    **dict.fromkeys((".heic", ".heif", ".jxl", ".jp2", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"), "save them as JPEG"),
    **dict.fromkeys((".zip", ".7z", ".rar"), "unpack them"),
    **dict.fromkeys((".svg", ".psd", ".eps", ".ico", ".tga", ".pdf"), "save them as PNG"),
}
MAX_PIXELS = 100_000_000  # 100 megapixels: more than cameras have, and 300 MB when decoded
DEEP = 1 << 18  # values of more than 8 bits that are scaled at once
MOST_SCANS = 64  # of a progressive JPEG, each of which goes over all pixels; encoders write about ten
TURNED = {  # EXIF orientation -> how the pixels are turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ROOM = 1.5  # minimum scale of a decoded JPEG to the target size; at 1.25 (640 pixels halved for 256) captions lost 0.7 CIDEr-2015


def is_image(name: str) -> bool:
    """Whether a name ends as an image's does."""
    return has_suffix(name, SUFFIXES)


def image_files(paths: Iterable[str | Path]) -> list[str]:
    """``find_files`` of images.

    Raises:
        UserError: for a pattern or a folder in which there is no image.
    """
    return find_files(paths, SUFFIXES, "image", NOT_READ)


def thumbnail(value: Any, size: int, source: str = "") -> bytes:
    """An upright JPEG thumbnail with the image's proportions, at most ``size`` pixels a side.

    Raises:
        UserError: naming the file, when it cannot be read.
    """
    image = decoded(value, source, size).copy()  # do not change an image in memory
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=84)
    return file.getvalue()


def decoded(value: Any, source: str, size: int) -> Image.Image:
    """Decode an image: upright, RGB, in its own size. A large JPEG is decoded at a fraction of its size, at least ``size``
    pixels.

    Raises:
        UserError: naming the file, when it is missing, not an image, cut short, or too large.
    """
    return _decoded(value, _where(value, source), size)


def _where(value: Any, source: str) -> str:
    """The file and its row, for messages, without repetition."""
    if not isinstance(value, str | os.PathLike):
        return source or "image"
    return source if source and str(value) in source else ": ".join(part for part in (source, str(value)) if part)


def _decoded(value: Any, where: str, size: int) -> Image.Image:
    """The image upright, in RGB, with transparent parts on white."""
    if hasattr(value, "__array__") and not isinstance(value, str | bytes):  # a text from an array is a text
        return _from_array(_array(value, where), where)
    if not isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        raise UserError(f"{where}: expected an image (path, bytes, PIL image or array), found {type(value).__name__}")
    try:
        if isinstance(value, Image.Image):
            return _rgb(_limited(value, where), where)  # Pillow reads the file here
        value = bytes(value) if isinstance(value, bytearray | memoryview) else value
        inside = read_part(value) if isinstance(value, str) else None
        value = value if inside is None else inside
        with _opened(_regular(os.fspath(value), where) if isinstance(value, str | os.PathLike) else io.BytesIO(value)) as image:
            _limited(image, where)
            _check_scans(image, where)
            room = round(ROOM * size)
            image.draft("RGB", (room, room))  # lets JPEG decode a large photo at a fraction of its size
            return _rgb(image, where)
    except FileNotFoundError:
        raise UserError(f"{where} does not exist; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{where} is a folder; give an image file") from None
    except UnidentifiedImageError:
        kind = foreign(value if isinstance(value, bytes) else Path(os.fspath(value)), ("image",))
        raise UserError(f"{where} {kind or 'is not a readable image; save it as PNG or JPEG'}") from None
    except Image.DecompressionBombError:
        raise UserError(f"{where} has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller") from None
    except PermissionError:
        raise UserError(f"{where} cannot be read: permission denied; change its permissions") from None
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        if "text" in str(error).lower() and "MAX_TEXT" in str(error):
            raise UserError(f"{where} holds too much text beside its pixels; save it again as PNG or JPEG") from None
        raise UserError(f"{where} is damaged or cut short ({error}); copy it again") from None


def _regular(path: str, where: str) -> str:
    """The path as it is on disk. Pipes and devices, for which reading could wait forever, are rejected."""
    path = file_named(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if reason := not_a_path(path):
            shown = where.removesuffix(path) + shortened(path).replace("\0", "\\0")
            raise UserError(f"{shown} {reason}") from None
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise UserError(f"{where} is a link that leads back to itself; give the file itself") from None
        raise
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{where} is a pipe or a device; save the image to a file")
    return path


def _opened(file: str | io.BytesIO) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked next, with a clear message
        return Image.open(file, formats=FORMATS)


def _limited(image: Image.Image, where: str) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{where} is {image.width} x {image.height}; at most {MAX_PIXELS // 1_000_000} megapixels are read, make it smaller"
        )
    if image.width < 1 or image.height < 1:
        raise UserError(f"{where} is {image.width} x {image.height}; it has no pixels")
    return image


def _check_scans(image: Image.Image, where: str) -> None:
    """Refuse a JPEG of so many scans that decoding it takes minutes."""
    file = getattr(image, "fp", None)
    if image.format not in ("JPEG", "MPO") or file is None:
        return
    place = file.tell()
    file.seek(0)
    scans = file.read().count(b"\xff\xda")  # a marker: in the data, a byte 0 follows each 255
    file.seek(place)
    if scans > MOST_SCANS:
        raise UserError(f"{where} has {scans:,} scans; at most {MOST_SCANS} are read, save it again as PNG or JPEG")


def _rgb(image: Image.Image, where: str) -> Image.Image:
    """Convert to upright RGB, and copy only if needed: two copies of a photo of 500 x 375 take as long as its decoding."""
    _load(image, where)
    profile = image.info.get("icc_profile")
    turn = TURNED.get(_orientation(image))
    image = image.transpose(turn) if turn is not None else image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(np.asarray(image), where)
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        mode, layer = "L" if image.mode in ("L", "LA") else "RGB", image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert(mode)
    elif image.mode == "P":
        image = image.convert("RGB")
    return to_srgb(image, profile)


def _load(image: Image.Image, where: str) -> None:
    """Decode the pixels; a damaged file raises here."""
    file = getattr(image, "fp", None)
    try:
        image.load()
    except Exception:
        if isinstance(image, ImageFile.ImageFile) and (file is None or file.closed):
            raise UserError(f"{where} is an image whose file was closed; call its load() before you close the file") from None
        raise


def _orientation(image: Image.Image) -> Any:
    """The EXIF tag; 1 (upright) where tags cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a tag of an odd type raises errors of many kinds
        return 1


def _from_deep(values: np.ndarray, where: str) -> Image.Image:
    """Grey values of more than 8 bits, scaled by the range that they are in: 0..1, 0..255 or 0..65535.

    Raises:
        UserError: for other ranges, and for values that are not numbers.
    """
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low + high):  # NaN is the least and the greatest
        raise UserError(f"{where} holds values that are not numbers (NaN or infinite); save it with 8 bits a channel")
    if low < 0 or high > 65535:
        message = f"its values go from {low:g} to {high:g}; 0..1, 0..255 and 0..65535 are read"
        raise UserError(f"{where}: {message}, so save it with 8 bits a channel")
    white, flat = _most(values, high), values.reshape(-1)
    grey = np.empty(flat.shape, np.uint8)
    for first in range(0, len(flat), DEEP):  # all at once, 32 megapixels take half a gigabyte more
        part = slice(first, first + DEEP)
        grey[part] = np.rint(flat[part].astype(np.float64) / white * 255)
    return Image.fromarray(grey.reshape(values.shape)).convert("RGB")


def _most(values: np.ndarray, high: float) -> float:
    """White, for values up to ``high``."""
    if high <= 1 and not (values == np.floor(values)).all():
        return 1.0
    return 255.0 if high <= 255 else 65535.0


def _array(value: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:  # tensors on a GPU, with a gradient, in bfloat16, sparse
        kind, reason = type(value).__name__, str(error).partition(".")[0]
        raise UserError(f"{where}: a {kind} that numpy cannot read ({reason}); give a numpy array") from None


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
    return _rgb(_limited(Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array), where), where)
