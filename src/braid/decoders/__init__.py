"""Fused -> output, and the loss on it; one file a kind."""

from braid.decoders.recurrent import RecurrentTextDecoder, RecurrentTextDecoderConfig
from braid.decoders.transformer import TransformerTextDecoder, TransformerTextDecoderConfig

DecoderConfig = RecurrentTextDecoderConfig | TransformerTextDecoderConfig
TextDecoder = RecurrentTextDecoder | TransformerTextDecoder

__all__ = [
    "DecoderConfig",
    "RecurrentTextDecoder",
    "RecurrentTextDecoderConfig",
    "TextDecoder",
    "TransformerTextDecoder",
    "TransformerTextDecoderConfig",
]
