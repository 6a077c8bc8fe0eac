"""Fused -> output, and the loss on it; one file a kind."""

from braid.decoders.pretrained import PretrainedTextDecoder, PretrainedTextDecoderConfig
from braid.decoders.recurrent import RecurrentTextDecoder, RecurrentTextDecoderConfig
from braid.decoders.transformer import TransformerTextDecoder, TransformerTextDecoderConfig

DecoderConfig = PretrainedTextDecoderConfig | RecurrentTextDecoderConfig | TransformerTextDecoderConfig
TextDecoder = PretrainedTextDecoder | RecurrentTextDecoder | TransformerTextDecoder

__all__ = [
    "DecoderConfig",
    "PretrainedTextDecoder",
    "PretrainedTextDecoderConfig",
    "RecurrentTextDecoder",
    "RecurrentTextDecoderConfig",
    "TextDecoder",
    "TransformerTextDecoder",
    "TransformerTextDecoderConfig",
]
