"""Raw values <-> arrays, one file a modality, with limits and clear errors."""

from collections.abc import Mapping
from typing import Any

from braid.modalities.encoded import EncodedModality
from braid.modalities.grid import TokenGrid
from braid.modalities.image import (
    Augmentation,
    ImageModality,
    ImageModalityConfig,
    Picture,
    image_files,
    inline_thumbnail,
    is_image,
    thumbnail,
)
from braid.modalities.labels import (
    EmbeddingModality,
    EmbeddingModalityConfig,
    LabelsModality,
    LabelsModalityConfig,
    NumberModality,
    NumberModalityConfig,
)
from braid.modalities.text import SpecialTokens, TextModality, TextModalityConfig, Tokenizer

InputModalityConfig = ImageModalityConfig | TextModalityConfig
InputModality = ImageModality | TextModality
OutputModalityConfig = (
    EmbeddingModalityConfig | ImageModalityConfig | LabelsModalityConfig | NumberModalityConfig | TextModalityConfig
)
OutputModality = EmbeddingModality | ImageModality | LabelsModality | NumberModality | TextModality
ModalityConfig = InputModalityConfig | OutputModalityConfig
Modality = InputModality | OutputModality

__all__ = [
    "Augmentation",
    "EmbeddingModality",
    "EmbeddingModalityConfig",
    "EncodedModality",
    "ImageModality",
    "ImageModalityConfig",
    "InputModality",
    "InputModalityConfig",
    "LabelsModality",
    "LabelsModalityConfig",
    "Modality",
    "ModalityConfig",
    "NumberModality",
    "NumberModalityConfig",
    "OutputModality",
    "OutputModalityConfig",
    "Picture",
    "SpecialTokens",
    "TextModality",
    "TextModalityConfig",
    "TokenGrid",
    "Tokenizer",
    "build_modalities",
    "image_files",
    "inline_thumbnail",
    "is_image",
    "thumbnail",
    "tokenizer_names",
]


def tokenizer_names(*groups: Mapping[str, ModalityConfig]) -> list[str]:
    """The tokenizers that the text modalities read with, each once."""
    named = [config.tokenizer for group in groups for config in group.values() if isinstance(config, TextModalityConfig)]
    return list(dict.fromkeys(named))


def build_modalities(configs: Mapping[str, ModalityConfig], tokenizers: Mapping[str, Tokenizer]) -> dict[str, Any]:
    """Every modality, each text with the tokenizer that it names."""
    return {
        name: config.build(tokenizers[config.tokenizer]) if isinstance(config, TextModalityConfig) else config.build()
        for name, config in configs.items()
    }
