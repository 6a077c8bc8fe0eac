"""The image modality: decoding, preparation, augmentation, files."""

from braid.modalities.image.augmentation import Augmentation
from braid.modalities.image.decoding import FORMATS, image_files, is_image, thumbnail
from braid.modalities.image.modality import ImageModality, ImageModalityConfig, PreparedImage

__all__ = [
    "FORMATS",
    "Augmentation",
    "ImageModality",
    "ImageModalityConfig",
    "PreparedImage",
    "image_files",
    "is_image",
    "thumbnail",
]
