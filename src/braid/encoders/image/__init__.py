"""Images -> Features, one file a kind."""

from braid.encoders.image.cnn import CNNEncoder, CNNEncoderConfig
from braid.encoders.image.efficientnet import EfficientNetEncoder, EfficientNetEncoderConfig
from braid.encoders.image.mobilenet import MobileNetEncoder, MobileNetEncoderConfig
from braid.encoders.image.pretrained import PretrainedImageEncoder, PretrainedImageEncoderConfig
from braid.encoders.image.resnet import ResNetEncoder, ResNetEncoderConfig
from braid.encoders.image.tokens import ImageTokenEncoder, ImageTokenEncoderConfig
from braid.encoders.image.vgg import VGGEncoder, VGGEncoderConfig
from braid.encoders.image.vit import ViTEncoder, ViTEncoderConfig

ImageEncoderConfig = (
    CNNEncoderConfig
    | EfficientNetEncoderConfig
    | ImageTokenEncoderConfig
    | MobileNetEncoderConfig
    | PretrainedImageEncoderConfig
    | ResNetEncoderConfig
    | VGGEncoderConfig
    | ViTEncoderConfig
)

__all__ = [
    "CNNEncoder",
    "CNNEncoderConfig",
    "EfficientNetEncoder",
    "EfficientNetEncoderConfig",
    "ImageEncoderConfig",
    "ImageTokenEncoder",
    "ImageTokenEncoderConfig",
    "MobileNetEncoder",
    "MobileNetEncoderConfig",
    "PretrainedImageEncoder",
    "PretrainedImageEncoderConfig",
    "ResNetEncoder",
    "ResNetEncoderConfig",
    "VGGEncoder",
    "VGGEncoderConfig",
    "ViTEncoder",
    "ViTEncoderConfig",
]
