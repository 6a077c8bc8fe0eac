"""Padded -> Features: one folder a modality, one file a kind; ``weights.py`` fills them from standard files."""

from braid.encoders.image import (
    EfficientNetEncoder,
    EfficientNetEncoderConfig,
    ImageEncoderConfig,
    ImageTokenEncoder,
    ImageTokenEncoderConfig,
    MobileNetEncoder,
    MobileNetEncoderConfig,
    PretrainedImageEncoder,
    PretrainedImageEncoderConfig,
    ResNetEncoder,
    ResNetEncoderConfig,
    VGGEncoder,
    VGGEncoderConfig,
    ViTEncoder,
    ViTEncoderConfig,
)
from braid.encoders.protocol import TwoPartEncoder
from braid.encoders.tabular import (
    FTTransformerEncoder,
    FTTransformerEncoderConfig,
    MLPEncoder,
    MLPEncoderConfig,
    TabularEncoderConfig,
)
from braid.encoders.text import (
    NgramTextEncoder,
    NgramTextEncoderConfig,
    PretrainedTextEncoder,
    PretrainedTextEncoderConfig,
    RecurrentTextEncoder,
    RecurrentTextEncoderConfig,
    TextEncoderConfig,
    TransformerTextEncoder,
    TransformerTextEncoderConfig,
)
from braid.encoders.weights import load_weights

EncoderConfig = ImageEncoderConfig | TabularEncoderConfig | TextEncoderConfig

__all__ = [
    "EfficientNetEncoder",
    "EfficientNetEncoderConfig",
    "EncoderConfig",
    "FTTransformerEncoder",
    "FTTransformerEncoderConfig",
    "ImageEncoderConfig",
    "ImageTokenEncoder",
    "ImageTokenEncoderConfig",
    "MLPEncoder",
    "MLPEncoderConfig",
    "MobileNetEncoder",
    "MobileNetEncoderConfig",
    "NgramTextEncoder",
    "NgramTextEncoderConfig",
    "PretrainedImageEncoder",
    "PretrainedImageEncoderConfig",
    "PretrainedTextEncoder",
    "PretrainedTextEncoderConfig",
    "RecurrentTextEncoder",
    "RecurrentTextEncoderConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
    "TabularEncoderConfig",
    "TextEncoderConfig",
    "TransformerTextEncoder",
    "TransformerTextEncoderConfig",
    "TwoPartEncoder",
    "VGGEncoder",
    "VGGEncoderConfig",
    "ViTEncoder",
    "ViTEncoderConfig",
    "load_weights",
]
