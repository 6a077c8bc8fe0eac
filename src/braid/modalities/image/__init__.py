"""The image modality: decoding, preparation, augmentation, files."""

from braid.media.augmentation import Augmentation
from braid.modalities.image.decoding import FORMATS, NOT_READ, image_files, is_image, thumbnail
from braid.modalities.image.modality import ImageModality, ImageModalityConfig, PreparedImage

__all__ = [
    "FORMATS",
    "NOT_READ",
    "Augmentation",
    "ImageModality",
    "ImageModalityConfig",
    "PreparedImage",
    "image_files",
    "is_image",
    "thumbnail",
]
