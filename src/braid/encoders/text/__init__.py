"""Texts -> Features, one file a kind."""

from braid.encoders.text.pretrained import PretrainedTextEncoder, PretrainedTextEncoderConfig
from braid.encoders.text.recurrent import RecurrentTextEncoder, RecurrentTextEncoderConfig
from braid.encoders.text.transformer import TransformerTextEncoder, TransformerTextEncoderConfig

TextEncoderConfig = PretrainedTextEncoderConfig | RecurrentTextEncoderConfig | TransformerTextEncoderConfig

__all__ = [
    "PretrainedTextEncoder",
    "PretrainedTextEncoderConfig",
    "RecurrentTextEncoder",
    "RecurrentTextEncoderConfig",
    "TextEncoderConfig",
    "TransformerTextEncoder",
    "TransformerTextEncoderConfig",
]
