"""Fused -> output, and the loss on it; one file a kind.

Text decoders write one token after another, and so does ``raster`` for images; ``masked`` predicts all tokens of an image
together. The others give a row one vector: scores of labels, a number, an embedding.
"""

from braid.decoders.classes import ClassesDecoder, ClassesDecoderConfig
from braid.decoders.embedding import EmbeddingDecoder, EmbeddingDecoderConfig
from braid.decoders.masked import MaskedDecoder, MaskedDecoderConfig
from braid.decoders.number import NumberDecoder, NumberDecoderConfig
from braid.decoders.pretrained import PretrainedTextDecoder, PretrainedTextDecoderConfig
from braid.decoders.raster import RasterDecoder, RasterDecoderConfig
from braid.decoders.recurrent import RecurrentTextDecoder, RecurrentTextDecoderConfig
from braid.decoders.transformer import TransformerTextDecoder, TransformerTextDecoderConfig

TextDecoderConfig = PretrainedTextDecoderConfig | RecurrentTextDecoderConfig | TransformerTextDecoderConfig
TextDecoder = PretrainedTextDecoder | RecurrentTextDecoder | TransformerTextDecoder
VectorDecoderConfig = ClassesDecoderConfig | EmbeddingDecoderConfig | NumberDecoderConfig
VectorDecoder = ClassesDecoder | EmbeddingDecoder | NumberDecoder
ImageDecoderConfig = MaskedDecoderConfig | RasterDecoderConfig
ImageDecoder = MaskedDecoder | RasterDecoder
DecoderConfig = ImageDecoderConfig | TextDecoderConfig | VectorDecoderConfig

__all__ = [
    "ClassesDecoder",
    "ClassesDecoderConfig",
    "DecoderConfig",
    "EmbeddingDecoder",
    "EmbeddingDecoderConfig",
    "MaskedDecoder",
    "MaskedDecoderConfig",
    "NumberDecoder",
    "NumberDecoderConfig",
    "ImageDecoder",
    "ImageDecoderConfig",
    "PretrainedTextDecoder",
    "PretrainedTextDecoderConfig",
    "RasterDecoder",
    "RasterDecoderConfig",
    "RecurrentTextDecoder",
    "RecurrentTextDecoderConfig",
    "TextDecoder",
    "TextDecoderConfig",
    "TransformerTextDecoder",
    "TransformerTextDecoderConfig",
    "VectorDecoder",
    "VectorDecoderConfig",
]
