"""Clips -> Features, one file a kind. Each has an image encoder for the frames."""

from braid.encoders.video.convolution import ConvolutionVideoEncoder, ConvolutionVideoEncoderConfig
from braid.encoders.video.mean import MeanVideoEncoder, MeanVideoEncoderConfig
from braid.encoders.video.shift import ShiftVideoEncoder, ShiftVideoEncoderConfig
from braid.encoders.video.transformer import TransformerVideoEncoder, TransformerVideoEncoderConfig

VideoEncoderConfig = (
    ConvolutionVideoEncoderConfig | MeanVideoEncoderConfig | ShiftVideoEncoderConfig | TransformerVideoEncoderConfig
)

__all__ = [
    "ConvolutionVideoEncoder",
    "ConvolutionVideoEncoderConfig",
    "MeanVideoEncoder",
    "MeanVideoEncoderConfig",
    "ShiftVideoEncoder",
    "ShiftVideoEncoderConfig",
    "TransformerVideoEncoder",
    "TransformerVideoEncoderConfig",
    "VideoEncoderConfig",
]
