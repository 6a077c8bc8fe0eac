"""Padded -> Features, one file a kind; ``weights.py`` fills them from standard files."""

from braid.encoders.efficientnet import EfficientNetEncoder, EfficientNetEncoderConfig
from braid.encoders.mobilenet import MobileNetEncoder, MobileNetEncoderConfig
from braid.encoders.pretrained import (
    PretrainedImageEncoder,
    PretrainedImageEncoderConfig,
    PretrainedTextEncoder,
    PretrainedTextEncoderConfig,
)
from braid.encoders.recurrent import RecurrentTextEncoder, RecurrentTextEncoderConfig
from braid.encoders.resnet import ResNetEncoder, ResNetEncoderConfig
from braid.encoders.tokens import ImageTokenEncoder, ImageTokenEncoderConfig
from braid.encoders.transformer import TransformerTextEncoder, TransformerTextEncoderConfig
from braid.encoders.vgg import VGGEncoder, VGGEncoderConfig
from braid.encoders.vit import ViTEncoder, ViTEncoderConfig
from braid.encoders.weights import load_weights

EncoderConfig = (
    EfficientNetEncoderConfig
    | MobileNetEncoderConfig
    | ImageTokenEncoderConfig
    | PretrainedImageEncoderConfig
    | PretrainedTextEncoderConfig
    | RecurrentTextEncoderConfig
    | ResNetEncoderConfig
    | TransformerTextEncoderConfig
    | VGGEncoderConfig
    | ViTEncoderConfig
)

__all__ = [
    "EfficientNetEncoder",
    "EfficientNetEncoderConfig",
    "EncoderConfig",
    "MobileNetEncoder",
    "MobileNetEncoderConfig",
    "ImageTokenEncoder",
    "ImageTokenEncoderConfig",
    "PretrainedImageEncoder",
    "PretrainedImageEncoderConfig",
    "PretrainedTextEncoder",
    "PretrainedTextEncoderConfig",
    "RecurrentTextEncoder",
    "RecurrentTextEncoderConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
    "TransformerTextEncoder",
    "TransformerTextEncoderConfig",
    "VGGEncoder",
    "VGGEncoderConfig",
    "ViTEncoder",
    "ViTEncoderConfig",
    "load_weights",
]
