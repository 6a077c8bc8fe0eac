"""Raw values <-> arrays, one file a modality, with limits and clear errors."""

from braid.modalities.image import ImageModality, ImageModalityConfig
from braid.modalities.text import TextModality, TextModalityConfig, Tokenizer

ModalityConfig = ImageModalityConfig | TextModalityConfig
Modality = ImageModality | TextModality

__all__ = [
    "ImageModality",
    "ImageModalityConfig",
    "Modality",
    "ModalityConfig",
    "TextModality",
    "TextModalityConfig",
    "Tokenizer",
]
