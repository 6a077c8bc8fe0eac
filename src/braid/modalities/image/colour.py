"""Colour profiles (ICC): the same value of a channel is another colour in Display P3, Adobe RGB or a printer's CMYK."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

PROFILES = 8  # that are kept ready; a data set rarely has more
LARGEST = 4 << 20  # bytes; profiles of printers have up to 3 MB
STEPS = 6  # of each channel, on which a profile is compared with sRGB
NEAR = 2  # of 255: a profile that changes colours by no more than this is sRGB
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # the colours of a profile -> the mode of its images


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in RGB, its colours converted from its profile to sRGB.

    A profile that cannot be read, or is for images of another mode, is ignored, as in browsers.
    """
    transform = _transform(profile, image.mode) if profile and len(profile) <= LARGEST else None
    if transform is not None:
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion from a profile to sRGB, or None where there is nothing to convert."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if mode != "CMYK" and _changes_little(transform, mode) else transform
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):  # damaged, or Pillow was built without littlecms
        return None


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a profile is sRGB under any of its names: most photos have it, and converting them would cost time for nothing."""
    steps = np.linspace(0, 255, STEPS).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, STEPS, 3)
    image = Image.fromarray(colours).convert(mode)
    before, after = (np.asarray(one.convert("RGB")).astype(int) for one in (image, transform.apply(image)))
    return bool(np.abs(before - after).max() <= NEAR)
