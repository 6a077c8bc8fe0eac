"""Modalities, one folder each: conversion of raw values to arrays, with limits and clear errors. ``protocol.py`` defines what a
modality provides.

The *role* of a value names its modality: ``image`` and ``tabular`` are roles themselves; captions and questions are texts.
"""

import os
from collections.abc import Mapping
from typing import Any

from braid.config import kinds
from braid.errors import UserError
from braid.modalities.audio import AudioAugmentation, AudioModality, AudioModalityConfig
from braid.modalities.encoded import EncodedModality
from braid.modalities.image import (
    NOT_READ,
    Augmentation,
    ImageModality,
    ImageModalityConfig,
    image_files,
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
from braid.modalities.protocol import Does, InputConfig, InputModality, OutputModality, TokenGrid
from braid.modalities.tabular import TabularModality, TabularModalityConfig
from braid.modalities.text import SpecialTokens, TextModality, TextModalityConfig, Tokenizer
from braid.modalities.video import VideoModality, VideoModalityConfig
from braid.records import View

InputModalityConfig = ImageModalityConfig | AudioModalityConfig | TabularModalityConfig | TextModalityConfig | VideoModalityConfig
OutputModalityConfig = (
    EmbeddingModalityConfig | ImageModalityConfig | LabelsModalityConfig | NumberModalityConfig | TextModalityConfig
)
ModalityConfig = InputModalityConfig | OutputModalityConfig

# The modality of each role that has another name than its modality.
ROLES = {
    "answer": "text",
    "answers": "text",
    "captions": "text",
    "instruction": "text",
    "question": "text",
    "target": "image",
}

__all__ = [
    "NOT_READ",
    "ROLES",
    "AudioAugmentation",
    "AudioModality",
    "AudioModalityConfig",
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
    "VideoModality",
    "VideoModalityConfig",
    "build_modalities",
    "default_inputs",
    "image_files",
    "input_in_words",
    "is_image",
    "modality_of",
    "show",
    "thumbnail",
    "thumbnail_uri",
    "tokenizer_names",
]


def modality_of(role: str) -> Any:
    """The config class of a role's modality, or None for a role that is not an input, such as ``label``."""
    return kinds(InputModalityConfig).get(ROLES.get(role, role))


def default_inputs() -> dict[str, InputModalityConfig]:
    """One input of every modality, by its default name."""
    return {config.input_name: config() for config in kinds(InputModalityConfig).values()}


def thumbnail_uri(value: Any, size: int) -> str:
    """A thumbnail of a file as a data URI, at most ``size`` pixels a side: an image, frames of a clip, or the waveform of a
    recording, as its suffix says; "" if the file cannot be read."""
    suffix = os.path.splitext(value)[1].lower() if isinstance(value, str | os.PathLike) else ""
    moving = VideoModalityConfig.show if suffix in VideoModalityConfig.suffixes else ImageModalityConfig.show
    draw = AudioModalityConfig.picture if suffix in AudioModalityConfig.suffixes else moving
    try:
        return draw(value, size).uri
    except UserError:
        return ""


def input_in_words(name: str) -> str:
    """The name of an input, for a sentence: ``prompt`` is the text of a row, whatever its column is called."""
    return f"{name} (the text)" if name == TextModalityConfig.input_name else name


def show(role: str, value: Any, size: int = 320, source: str = "") -> View:
    """The view of a role's value for a page; see ``InputConfig.show``."""
    config = modality_of(role)
    return config.show(value, size, source) if config else View(str(value))


def tokenizer_names(*groups: Mapping[str, ModalityConfig]) -> list[str]:
    """The names of the tokenizers that the modalities use, without duplicates."""
    named = [name for group in groups for config in group.values() if (name := getattr(config, "tokenizer", ""))]
    return list(dict.fromkeys(named))


def build_modalities(configs: Mapping[str, ModalityConfig], tokenizers: Mapping[str, Tokenizer]) -> dict[str, Any]:
    """Build all modalities, each text with its tokenizer."""
    return {name: config.build(tokenizers.get(getattr(config, "tokenizer", ""))) for name, config in configs.items()}
