"""Random changes to a training image, or to the frames of a clip, that leave its caption true."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from braid.errors import UserError

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, or alike to all frames of a clip, that leave its caption true.

    Args:
        horizontal_flip: probability of mirroring.
        crop_scale: minimum and maximum share of the image's area that a random crop keeps.
        brightness, contrast, colour: x scales by a random factor in 1 - x .. 1 + x; 0 turns the change off.
        scale: size of a training image, relative to that in use. A convolutional network trains faster on smaller images, and
            crops make what is in them larger (arXiv:1906.06423); other encoders need 1.
    """

    horizontal_flip: float = 0.5
    crop_scale: tuple[float, float] = (0.7, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"crop_scale is {list(self.crop_scale)}; give the minimum and maximum share of the area, such as [0.7, 1.0]"
            )
        for name in ("horizontal_flip", "brightness", "contrast", "colour"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if not 0 < self.scale <= 1:
            raise UserError(f"scale is {self.scale}; it must be above 0 and at most 1")


def random_crop(image: Image.Image, augmentation: Augmentation, rng: np.random.Generator) -> Box:
    """A random crop with the proportions of the image."""
    share = float(np.sqrt(rng.uniform(*augmentation.crop_scale)))
    width, height = share * image.width, share * image.height
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    return (left, top, left + width, top + height)


def jittered(image: Image.Image, augmentation: Augmentation, rng: np.random.Generator) -> Image.Image:
    changes = (
        (ImageEnhance.Brightness, augmentation.brightness),
        (ImageEnhance.Contrast, augmentation.contrast),
        (ImageEnhance.Color, augmentation.colour),
    )
    for enhance, amount in changes:
        if amount:
            image = enhance(image).enhance(float(rng.uniform(1 - amount, 1 + amount)))
    return image
