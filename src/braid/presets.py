"""Architectures with a name: functions that return a ModelConfig."""

from collections.abc import Callable, Sequence

from braid.codecs import FSQCodecConfig
from braid.decoders import (
    ClassesDecoderConfig,
    DecoderConfig,
    EmbeddingDecoderConfig,
    MaskedDecoderConfig,
    NumberDecoderConfig,
    RecurrentTextDecoderConfig,
    TransformerTextDecoderConfig,
)
from braid.encoders import (
    EncoderConfig,
    MobileNetEncoderConfig,
    ResNetEncoderConfig,
    TransformerTextEncoderConfig,
    ViTEncoderConfig,
)
from braid.fusions import AttentionFusionConfig, ConcatFusionConfig
from braid.model import ModelConfig

BOTH = ("image", "prompt")
TEXT = ("text",)


def classic(inputs: Sequence[str] = BOTH, image: EncoderConfig | None = None, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """The textbook model: BERT-style text encoder, ResNet image encoder, h = [e; f], GRU decoder."""
    encoders: dict[str, EncoderConfig] = {
        "image": image or ResNetEncoderConfig(depth=18),
        "prompt": TransformerTextEncoderConfig(attention="bidirectional", width=256, depth=3, heads=4),
    }
    return ModelConfig(
        width=256,
        encoders={name: encoders[name] for name in inputs},
        fusion=ConcatFusionConfig(mode="vectors"),
        decoders=_decoders(outputs, RecurrentTextDecoderConfig(cell="gru", width=384), hidden_width=256),
    )


def small(inputs: Sequence[str] = BOTH, image: EncoderConfig | None = None, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """A quick model under 20 M parameters: MobileNetV2 and a transformer on both sides of attention fusion.

    The built-in captioner has EfficientNet-Lite2 instead, which is more accurate at 1.6 times the cost (docs/log.md).
    """
    encoders: dict[str, EncoderConfig] = {
        "image": image or MobileNetEncoderConfig(padding="tensorflow", folded=True),
        "prompt": TransformerTextEncoderConfig(attention="bidirectional", width=192, depth=3, heads=4),
    }
    return ModelConfig(
        width=384,
        encoders={name: encoders[name] for name in inputs},
        fusion=AttentionFusionConfig(depth=1, heads=6) if len(inputs) > 1 else ConcatFusionConfig(mode="sequences"),
        decoders=_decoders(outputs, TransformerTextDecoderConfig(width=384, depth=3, heads=6, dropout=0.2), hidden_width=384),
    )


def tiny(inputs: Sequence[str] = BOTH, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """A whole model in a few thousand parameters, for tests and lessons on 32-pixel images."""
    encoders: dict[str, EncoderConfig] = {
        "image": ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0),
        "prompt": TransformerTextEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    }
    return ModelConfig(
        width=32,
        encoders={name: encoders[name] for name in inputs},
        fusion=AttentionFusionConfig(depth=1, heads=2, dropout=0.0),
        decoders=_decoders(outputs, TransformerTextDecoderConfig(width=32, depth=1, heads=2, dropout=0.0), hidden_width=32),
    )


def _decoders(outputs: Sequence[str], text: DecoderConfig, hidden_width: int) -> dict[str, DecoderConfig]:
    """The decoders of a preset for these outputs."""
    every: dict[str, DecoderConfig] = {
        "text": text,
        "label": ClassesDecoderConfig(hidden_width=hidden_width),
        "answer": ClassesDecoderConfig(hidden_width=hidden_width),
        "number": NumberDecoderConfig(),
        "embedding": EmbeddingDecoderConfig(width=hidden_width),
        "image": MaskedDecoderConfig(width=hidden_width),
    }
    return {name: every[name] for name in outputs}


def codec() -> ModelConfig:
    """A codec alone, for the task reconstruction."""
    return ModelConfig(codecs={"image": FSQCodecConfig()})


PRESETS: dict[str, Callable[..., ModelConfig]] = {"classic": classic, "small": small, "tiny": tiny}
