"""Raw values <-> arrays, one file a modality, with limits and clear errors."""

from braid.modalities.image import Augmentation, ImageModality, ImageModalityConfig, image_files, thumbnail
from braid.modalities.text import TextModality, TextModalityConfig, Tokenizer

ModalityConfig = ImageModalityConfig | TextModalityConfig
Modality = ImageModality | TextModality

__all__ = [
    "Augmentation",
    "ImageModality",
    "ImageModalityConfig",
    "Modality",
    "ModalityConfig",
    "TextModality",
    "TextModalityConfig",
    "Tokenizer",
    "image_files",
    "thumbnail",
]
