"""Architectures with a name: functions that return a ModelConfig."""

from collections.abc import Callable, Sequence

from braid.decoders import RecurrentTextDecoderConfig, TransformerTextDecoderConfig
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


def classic(inputs: Sequence[str] = BOTH, image: EncoderConfig | None = None) -> ModelConfig:
    """The textbook model: BERT-style text encoder, ResNet image encoder, h = [e; f], GRU decoder."""
    encoders: dict[str, EncoderConfig] = {
        "image": image or ResNetEncoderConfig(depth=18),
        "prompt": TransformerTextEncoderConfig(attention="bidirectional", width=256, depth=3, heads=4),
    }
    return ModelConfig(
        width=256,
        encoders={name: encoders[name] for name in inputs},
        fusion=ConcatFusionConfig(over="vectors"),
        decoders={"text": RecurrentTextDecoderConfig(cell="gru", width=384)},
    )


def small(inputs: Sequence[str] = BOTH, image: EncoderConfig | None = None) -> ModelConfig:
    """A quick model under 20 M parameters: MobileNetV2 and a transformer on both sides of attention fusion.

    The built-in captioner has EfficientNet-Lite2 in its place, which sees more for 1.6 times the cost (docs/log.md).
    """
    encoders: dict[str, EncoderConfig] = {
        "image": image or MobileNetEncoderConfig(padding="tensorflow", folded=True),
        "prompt": TransformerTextEncoderConfig(attention="bidirectional", width=192, depth=3, heads=4),
    }
    return ModelConfig(
        width=384,
        encoders={name: encoders[name] for name in inputs},
        fusion=AttentionFusionConfig(depth=1, heads=6) if len(inputs) > 1 else ConcatFusionConfig(over="sequences"),
        decoders={"text": TransformerTextDecoderConfig(width=384, depth=3, heads=6, dropout=0.2)},
    )


def tiny(inputs: Sequence[str] = BOTH) -> ModelConfig:
    """A whole model in a few thousand parameters, for tests and lessons on 32-pixel pictures."""
    encoders: dict[str, EncoderConfig] = {
        "image": ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0),
        "prompt": TransformerTextEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    }
    return ModelConfig(
        width=32,
        encoders={name: encoders[name] for name in inputs},
        fusion=AttentionFusionConfig(depth=1, heads=2, dropout=0.0),
        decoders={"text": TransformerTextDecoderConfig(width=32, depth=1, heads=2, dropout=0.0)},
    )


PRESETS: dict[str, Callable[[], ModelConfig]] = {"classic": classic, "small": small, "tiny": tiny}
