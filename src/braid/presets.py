"""Architectures with a name: functions that return a ModelConfig."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from braid.codecs import FSQCodecConfig
from braid.config import kinds
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
    EfficientNetEncoderConfig,
    EncoderConfig,
    FTTransformerEncoderConfig,
    MobileNetEncoderConfig,
    NgramTextEncoderConfig,
    ResNetEncoderConfig,
    TransformerTextEncoderConfig,
    TransformerVideoEncoderConfig,
    ViTEncoderConfig,
)
from braid.errors import UserError
from braid.fusions import AttentionFusionConfig, ConcatFusionConfig
from braid.layers.levels import LevelsConfig
from braid.modalities import InputModalityConfig
from braid.model import ModelConfig

Inputs = Sequence[str] | Mapping[str, str]  # usual names, or any names with the modality of each
BOTH = ("image", "prompt")
TEXT = ("text",)


def classic(inputs: Inputs = BOTH, image: EncoderConfig | None = None, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """The textbook model: BERT-style text encoder, ResNet image encoder, h = [e; f], GRU decoder."""
    by_modality: dict[str, EncoderConfig] = {
        "image": image or ResNetEncoderConfig(depth=18),
        "text": TransformerTextEncoderConfig(attention="bidirectional", width=256, depth=3, heads=4),
        "tabular": FTTransformerEncoderConfig(width=192, depth=3, heads=8),
        "video": TransformerVideoEncoderConfig(frame=ResNetEncoderConfig(depth=18)),
    }
    return ModelConfig(
        width=256,
        encoders=_encoders(inputs, by_modality),
        fusion=ConcatFusionConfig(mode="vectors"),
        decoders=_decoders(outputs, RecurrentTextDecoderConfig(cell="gru", width=384), hidden_width=256),
    )


def compact(inputs: Inputs = BOTH, image: EncoderConfig | None = None, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """A quick model under 20 M parameters: MobileNetV2 and a transformer on both sides of attention fusion.

    The built-in captioner has EfficientNet-Lite2 instead, which is more accurate at 1.6 times the cost (docs/log.md).
    """
    by_modality: dict[str, EncoderConfig] = {
        "image": image or MobileNetEncoderConfig(padding="tensorflow", folded=True),
        "text": TransformerTextEncoderConfig(attention="bidirectional", width=192, depth=3, heads=4),
        "tabular": FTTransformerEncoderConfig(),
        "video": _frames_over_time(),
    }
    return ModelConfig(
        width=384,
        encoders=_encoders(inputs, by_modality),
        fusion=AttentionFusionConfig(depth=1, heads=6) if len(inputs) > 1 else ConcatFusionConfig(mode="sequences"),
        decoders=_decoders(outputs, TransformerTextDecoderConfig(width=384, depth=3, heads=6, dropout=0.2), hidden_width=384),
    )


def quick(inputs: Inputs = BOTH, image: EncoderConfig | None = None, outputs: Sequence[str] = ("label",)) -> ModelConfig:
    """For labels and numbers from a few thousand rows: frozen features of several depths, n-grams, and a small head.

    Only the layers after the image encoder's convolutions are trained, which takes seconds where features are cached.
    """
    levels = LevelsConfig(dropout=0.4, cells="text" in outputs)
    by_modality: dict[str, EncoderConfig] = {
        "image": image or EfficientNetEncoderConfig(variant="lite2", folded=True, levels=levels),
        "text": NgramTextEncoderConfig(),
        "tabular": FTTransformerEncoderConfig(),
        "video": _frames_over_time(),
    }
    return ModelConfig(
        width=384,
        encoders=_encoders(inputs, by_modality),
        fusion=ConcatFusionConfig(mode="sequences" if "text" in outputs else "vectors"),
        decoders=_decoders(outputs, TransformerTextDecoderConfig(width=384, depth=2, heads=6, dropout=0.2), 256, dropout=0.5),
    )


def tiny(inputs: Inputs = BOTH, outputs: Sequence[str] = TEXT) -> ModelConfig:
    """A whole model in a few thousand parameters, for tests and lessons on 32-pixel images."""
    by_modality: dict[str, EncoderConfig] = {
        "image": ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0),
        "text": TransformerTextEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
        "tabular": FTTransformerEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
        "video": TransformerVideoEncoderConfig(
            frame=ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0), width=32, depth=1, heads=2, dropout=0.0
        ),
    }
    return ModelConfig(
        width=32,
        encoders=_encoders(inputs, by_modality),
        fusion=AttentionFusionConfig(depth=1, heads=2, dropout=0.0),
        decoders=_decoders(outputs, TransformerTextDecoderConfig(width=32, depth=1, heads=2, dropout=0.0), hidden_width=32),
    )


def _frames_over_time() -> TransformerVideoEncoderConfig:
    """One vector a frame from several depths of the built-in model's image encoder, which takes little room in a cache."""
    frame = EfficientNetEncoderConfig(variant="lite2", folded=True, levels=LevelsConfig(dropout=0.4))
    return TransformerVideoEncoderConfig(frame=frame, width=256, depth=1, heads=4, dropout=0.2)


def _encoders(inputs: Inputs, by_modality: Mapping[str, EncoderConfig]) -> dict[str, EncoderConfig]:
    """An encoder for each input, by its modality."""
    usual = {config.input_name: kind for kind, config in kinds(InputModalityConfig).items()}
    modalities = inputs if isinstance(inputs, Mapping) else {name: usual.get(name, name) for name in inputs}
    return {name: by_modality.get(modality) or _first_encoder(name, modality) for name, modality in modalities.items()}


def _first_encoder(name: str, modality: str) -> Any:
    """An encoder with its default settings, for a modality that presets do not know: one of your own."""
    for config in kinds(EncoderConfig).values():
        if config.modality == modality:
            return config()
    raise UserError(f"there is no encoder for the input {name!r}; give it one under model.encoders.{name}")


def _decoders(outputs: Sequence[str], text: DecoderConfig, hidden_width: int, dropout: float = 0.1) -> dict[str, DecoderConfig]:
    """The decoders of a preset for these outputs."""
    every: dict[str, DecoderConfig] = {
        "text": text,
        "label": ClassesDecoderConfig(hidden_width=hidden_width, dropout=dropout),
        "answer": ClassesDecoderConfig(hidden_width=hidden_width, dropout=dropout),
        "number": NumberDecoderConfig(),
        "embedding": EmbeddingDecoderConfig(width=hidden_width),
        "image": MaskedDecoderConfig(width=hidden_width),
    }
    return {name: every[name] for name in outputs}


def codec() -> ModelConfig:
    """A codec alone, for the task reconstruction."""
    return ModelConfig(codecs={"image": FSQCodecConfig()})


PRESETS: dict[str, Callable[..., ModelConfig]] = {
    "classic": classic,
    "compact": compact,
    "quick": quick,
    "tiny": tiny,
}
