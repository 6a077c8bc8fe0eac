"""Raw values <-> arrays, one folder a modality, with limits and clear errors; ``protocol.py`` says what a modality brings.

A data set's *role* names its modality: ``image`` and ``tabular`` are roles of their own, a caption and a question are texts.
"""

from collections.abc import Mapping
from typing import Any

from braid.config import kinds
from braid.errors import UserError
from braid.modalities.encoded import EncodedModality
from braid.modalities.grid import TokenGrid
from braid.modalities.image import Augmentation, ImageModality, ImageModalityConfig, image_files, is_image, thumbnail
from braid.modalities.labels import (
    EmbeddingModality,
    EmbeddingModalityConfig,
    LabelsModality,
    LabelsModalityConfig,
    NumberModality,
    NumberModalityConfig,
)
from braid.modalities.protocol import Does, InputConfig, InputModality, OutputModality
from braid.modalities.tabular import TabularModality, TabularModalityConfig
from braid.modalities.text import SpecialTokens, TextModality, TextModalityConfig, Tokenizer
from braid.records import View

InputModalityConfig = ImageModalityConfig | TabularModalityConfig | TextModalityConfig
OutputModalityConfig = (
    EmbeddingModalityConfig | ImageModalityConfig | LabelsModalityConfig | NumberModalityConfig | TextModalityConfig
)
ModalityConfig = InputModalityConfig | OutputModalityConfig

# The modality of a role that is not called after its modality.
ROLES = {
    "answer": "text",
    "answers": "text",
    "captions": "text",
    "instruction": "text",
    "question": "text",
    "target": "image",
}

__all__ = [
    "ROLES",
    "Augmentation",
    "Does",
    "EmbeddingModality",
    "EmbeddingModalityConfig",
    "EncodedModality",
    "ImageModality",
    "ImageModalityConfig",
    "InputConfig",
    "InputModality",
    "InputModalityConfig",
    "LabelsModality",
    "LabelsModalityConfig",
    "ModalityConfig",
    "NumberModality",
    "NumberModalityConfig",
    "OutputModality",
    "OutputModalityConfig",
    "SpecialTokens",
    "TabularModality",
    "TabularModalityConfig",
    "TextModality",
    "TextModalityConfig",
    "TokenGrid",
    "Tokenizer",
    "build_modalities",
    "default_inputs",
    "image_files",
    "is_image",
    "modality_of",
    "show",
    "thumbnail",
    "thumbnail_uri",
    "tokenizer_names",
]


def modality_of(role: str) -> Any:
    """The modality of a role's values; None for a role that is no input, such as ``label``."""
    return kinds(InputModalityConfig).get(ROLES.get(role, role))


def default_inputs() -> dict[str, InputModalityConfig]:
    """An input of every modality, by its usual name."""
    return {config.input_name: config() for config in kinds(InputModalityConfig).values()}


def thumbnail_uri(value: Any, size: int) -> str:
    """A small copy of an image as a data URI, which a page can hold; "" where the image cannot be read."""
    try:
        return ImageModalityConfig.show(value, size).uri
    except UserError:
        return ""


def show(role: str, value: Any, size: int = 320, source: str = "") -> View:
    """What a page shows of a role's value; see ``InputConfig.show``."""
    config = modality_of(role)
    return config.show(value, size, source) if config else View(str(value))


def tokenizer_names(*groups: Mapping[str, ModalityConfig]) -> list[str]:
    """The tokenizers that the modalities read and write with, each once."""
    named = [name for group in groups for config in group.values() if (name := getattr(config, "tokenizer", ""))]
    return list(dict.fromkeys(named))


def build_modalities(configs: Mapping[str, ModalityConfig], tokenizers: Mapping[str, Tokenizer]) -> dict[str, Any]:
    """Every modality, each text with the tokenizer that it names."""
    return {name: config.build(tokenizers.get(getattr(config, "tokenizer", ""))) for name, config in configs.items()}
