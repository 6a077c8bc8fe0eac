"""Texts -> Features, one file a kind."""

from braid.encoders.text.ngrams import NgramTextEncoder, NgramTextEncoderConfig
from braid.encoders.text.pretrained import PretrainedTextEncoder, PretrainedTextEncoderConfig
from braid.encoders.text.recurrent import RecurrentTextEncoder, RecurrentTextEncoderConfig
from braid.encoders.text.transformer import TransformerTextEncoder, TransformerTextEncoderConfig

TextEncoderConfig = (
    NgramTextEncoderConfig | PretrainedTextEncoderConfig | RecurrentTextEncoderConfig | TransformerTextEncoderConfig
)

__all__ = [
    "NgramTextEncoder",
    "NgramTextEncoderConfig",
    "PretrainedTextEncoder",
    "PretrainedTextEncoderConfig",
    "RecurrentTextEncoder",
    "RecurrentTextEncoderConfig",
    "TextEncoderConfig",
    "TransformerTextEncoder",
    "TransformerTextEncoderConfig",
]
