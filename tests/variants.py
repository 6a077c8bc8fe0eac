"""Every variant of every part, each in an otherwise tiny model; the contract tests iterate over them.

A new kind in a union without a tiny form here fails ``test_every_kind_has_a_variant``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import torch

from braid.bundle import Interface
from braid.codecs import CodecConfig, FSQCodecConfig, PretrainedCodecConfig
from braid.collate import Collator
from braid.config import kinds
from braid.datasets.scenes import scene_examples
from braid.decoders import (
    ClassesDecoderConfig,
    DecoderConfig,
    EmbeddingDecoderConfig,
    ImageDecoderConfig,
    MaskedDecoderConfig,
    NumberDecoderConfig,
    PretrainedTextDecoderConfig,
    RasterDecoderConfig,
    RecurrentTextDecoderConfig,
)
from braid.encoders import (
    AudioCNNEncoderConfig,
    AudioTransformerEncoderConfig,
    CNNEncoderConfig,
    ConvolutionVideoEncoderConfig,
    EfficientNetEncoderConfig,
    EncoderConfig,
    FrameAudioEncoderConfig,
    FTTransformerEncoderConfig,
    ImageTokenEncoderConfig,
    MeanVideoEncoderConfig,
    MLPEncoderConfig,
    MobileNetEncoderConfig,
    NgramTextEncoderConfig,
    PretrainedAudioEncoderConfig,
    PretrainedImageEncoderConfig,
    PretrainedTextEncoderConfig,
    RecurrentTextEncoderConfig,
    ResNetEncoderConfig,
    ShiftVideoEncoderConfig,
    TransformerTextEncoderConfig,
    TransformerVideoEncoderConfig,
    VGGEncoderConfig,
    ViTEncoderConfig,
)
from braid.fusions import (
    AttentionFusionConfig,
    BilinearFusionConfig,
    BottleneckFusionConfig,
    CoAttentionFusionConfig,
    ConcatFusionConfig,
    FilmFusionConfig,
    FusionConfig,
    GatedFusionConfig,
    LateFusionConfig,
    TransformerFusionConfig,
    WeightedFusionConfig,
)
from braid.index import ExactIndexConfig, HnswIndexConfig, IndexConfig, LanceDBIndexConfig
from braid.layers.levels import LevelsConfig
from braid.layers.sound_levels import SoundLevelsConfig
from braid.modalities import (
    AudioModalityConfig,
    EmbeddingModalityConfig,
    ImageModalityConfig,
    InputModality,
    LabelsModalityConfig,
    NumberModalityConfig,
    OutputModality,
    OutputModalityConfig,
    TabularModalityConfig,
    TextModalityConfig,
    Tokenizer,
    VideoModalityConfig,
)
from braid.modalities.audio import LogMelConfig
from braid.modalities.tabular import CategoryColumn, NumberColumn
from braid.model import Model, ModelConfig
from braid.presets import tiny
from braid.records import Sample
from braid.tasks import VisualQuestionAnswering

SIZE = 32  # pixels
FRAMES = 4  # of a clip
SOUND = AudioModalityConfig(seconds=0.64, spectrogram=LogMelConfig(mels=32))  # 64 frames

# Hugging Face models with random weights; a frozen one is learned around.
BERT = {
    "model_type": "bert",
    "vocab_size": 330,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CLIP = {
    "model_type": "clip_vision_model",
    "image_size": SIZE,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 330,
    "n_positions": 96,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}

AST = {
    "model_type": "audio-spectrogram-transformer",
    "max_length": 64,
    "num_mel_bins": 32,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
VQ = {
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8, 8],
    "layers_per_block": 1,
    "latent_channels": 4,
    "num_vq_embeddings": 24,
    "vq_embed_dim": 4,
    "norm_num_groups": 4,
}

# of the frames of clips
FRAME = ViTEncoderConfig(patch_size=16, width=32, depth=1, heads=2, dropout=0.0)
LEVELS = MobileNetEncoderConfig(width_multiplier=0.25, levels=LevelsConfig(width=16, dropout=0.0))
ENCODERS: dict[str, EncoderConfig] = {
    "efficientnet": EfficientNetEncoderConfig(),
    "efficientnet folded": EfficientNetEncoderConfig(variant="lite1", padding="torch", folded=True),
    "mobilenet": MobileNetEncoderConfig(width_multiplier=0.25),
    "mobilenet folded": MobileNetEncoderConfig(width_multiplier=0.25, padding="tensorflow", folded=True),
    "mobilenet scales": MobileNetEncoderConfig(width_multiplier=0.25, scales=(1.0, 2.0)),
    "mobilenet levels": MobileNetEncoderConfig(width_multiplier=0.25, levels=LevelsConfig(width=16, dropout=0.0)),
    "mobilenet levels and cells": MobileNetEncoderConfig(
        width_multiplier=0.25, levels=LevelsConfig(width=16, dropout=0.0, cells=True)
    ),
    "resnet": ResNetEncoderConfig(depth=18),
    "cnn": CNNEncoderConfig(channels=8),
    "vgg": VGGEncoderConfig(depth=11),
    "vgg norm": VGGEncoderConfig(depth=11, batch_norm=True),
    "tokens": ImageTokenEncoderConfig(conv_depth=1, width=32, depth=1, heads=2, dropout=0.0),
    "vit": ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0),
    "transformer bidirectional": TransformerTextEncoderConfig(
        "transformer", "bidirectional", width=32, depth=1, heads=2, dropout=0.0
    ),
    "transformer causal": TransformerTextEncoderConfig("transformer", "causal", width=32, depth=1, heads=2, dropout=0.0),
    "transformer shared embedding": TransformerTextEncoderConfig(
        width=32, depth=1, heads=2, dropout=0.0, share_embedding_with="text"
    ),
    "ft_transformer": FTTransformerEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    "mlp": MLPEncoderConfig(width=32, depth=1, category_width=8, dropout=0.0),
    "ngrams": NgramTextEncoderConfig(longest=3, width=32, buckets=50, dropout=0.0),
    "pretrained bert": PretrainedTextEncoderConfig(architecture=BERT, train="full"),
    "pretrained clip lora": PretrainedImageEncoderConfig(architecture=CLIP, train="lora", lora_rank=2),
    "recurrent gru": RecurrentTextEncoderConfig(cell="gru", width=32, dropout=0.0),
    "video mean": MeanVideoEncoderConfig(frame=FRAME),
    "video mean of cells": MeanVideoEncoderConfig(frame=FRAME, cells=True),
    "video shift": ShiftVideoEncoderConfig(frame=FRAME, width=32, depth=1, dropout=0.0),
    "video shift by frame": ShiftVideoEncoderConfig(frame=FRAME, width=32, depth=1, dropout=0.0, cells=False),
    "video transformer": TransformerVideoEncoderConfig(frame=FRAME, width=32, depth=1, heads=2, dropout=0.0),
    "video convolution": ConvolutionVideoEncoderConfig(frame=LEVELS, width=32, depth=1, dropout=0.0),
    "audio cnn": AudioCNNEncoderConfig(channels=8, stages=2, dropout=0.0),
    "audio transformer": AudioTransformerEncoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    "audio frame": FrameAudioEncoderConfig(
        frame=ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0), frames=16, size=SIZE
    ),
    "audio frame levels": FrameAudioEncoderConfig(
        frame=MobileNetEncoderConfig(width_multiplier=0.25),
        frames=32,
        levels=SoundLevelsConfig(width=16, dropout=0.0, pieces=True),
    ),
    "audio frame levels of all": FrameAudioEncoderConfig(
        frame=MobileNetEncoderConfig(width_multiplier=0.25), frames=32, levels=SoundLevelsConfig(width=16, dropout=0.0)
    ),
    "pretrained ast": PretrainedAudioEncoderConfig(architecture=AST, train="full"),
    "recurrent lstm": RecurrentTextEncoderConfig(cell="lstm", width=32, dropout=0.0),
}
FUSIONS: dict[str, FusionConfig] = {
    "concat vectors": ConcatFusionConfig(mode="vectors"),
    "concat sequences": ConcatFusionConfig(mode="sequences"),
    "weighted": WeightedFusionConfig(),
    "gated": GatedFusionConfig(),
    "film": FilmFusionConfig(dropout=0.0),
    "film by image": FilmFusionConfig(condition="image", dropout=0.0),
    "bilinear": BilinearFusionConfig(dropout=0.0),
    "bilinear factored": BilinearFusionConfig(factor=5, dropout=0.0),
    "co-attention": CoAttentionFusionConfig(),
    "attention": AttentionFusionConfig(depth=1, heads=2, dropout=0.0),
    "bottleneck": BottleneckFusionConfig(num_bottlenecks=2, heads=2, dropout=0.0),
    "late": LateFusionConfig(),
    "transformer": TransformerFusionConfig(depth=1, heads=2, dropout=0.0),
}
DECODERS: dict[str, DecoderConfig] = {
    "transformer": tiny().decoders["text"],
    "pretrained gpt2 prefix": PretrainedTextDecoderConfig(architecture=GPT2, reads="prefix"),
    "pretrained gpt2 cross": PretrainedTextDecoderConfig(architecture=GPT2, reads="cross"),
    "recurrent gru cross": RecurrentTextDecoderConfig(cell="gru", width=32, dropout=0.0, reads="cross"),
    "recurrent lstm cross": RecurrentTextDecoderConfig(cell="lstm", width=32, dropout=0.0, reads="cross"),
    "recurrent gru initial": RecurrentTextDecoderConfig(cell="gru", width=32, dropout=0.0, reads="initial"),
    "recurrent lstm initial": RecurrentTextDecoderConfig(cell="lstm", width=32, dropout=0.0, reads="initial"),
}
INDEXES: dict[str, IndexConfig] = {
    "exact float32": ExactIndexConfig(storage="float32"),
    "exact float16": ExactIndexConfig(),
    "exact int8": ExactIndexConfig(storage="int8"),
    "hnsw float32": HnswIndexConfig(storage="float32"),
    "hnsw float16": HnswIndexConfig(),
    "hnsw int8": HnswIndexConfig(storage="int8"),
    "lancedb": LanceDBIndexConfig(),
}

VECTOR_DECODERS: dict[str, DecoderConfig] = {
    "classes": ClassesDecoderConfig(hidden_width=32, dropout=0.0),
    "classes by attention": ClassesDecoderConfig(reads="attention", dropout=0.0),
    "classes by maximum": ClassesDecoderConfig(reads="max", dropout=0.0),
    "classes by position": ClassesDecoderConfig(reads="positions", dropout=0.0),
    "classes of an encoder": ClassesDecoderConfig(input="prompt", hidden_width=16, linear=True, dropout=0.0),
    "embedding": EmbeddingDecoderConfig(width=16),
    "number": NumberDecoderConfig(dropout=0.0),
}
IMAGE_DECODERS: dict[str, ImageDecoderConfig] = {
    "raster": RasterDecoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    "raster that edits": RasterDecoderConfig(edits="image", width=32, depth=1, heads=2, dropout=0.0),
    "masked": MaskedDecoderConfig(width=32, depth=1, heads=2, dropout=0.0),
    "masked in patches": MaskedDecoderConfig(patch_size=2, width=32, depth=1, heads=2, dropout=0.0),
}
CODECS: dict[str, CodecConfig] = {
    "fsq": FSQCodecConfig(width=16, max_width=16, depth=1, downscale=8, levels=(4, 4, 3)),
    "fsq of two tones": FSQCodecConfig(width=16, max_width=16, depth=1, downscale=8, levels=(4, 4), tone_levels=(3, 3)),
    "pretrained vq": PretrainedCodecConfig(architecture=VQ),
}
TABLE = TabularModalityConfig(
    table=(NumberColumn("size", mean=1.0, std=2.0), CategoryColumn("kind", categories=("round", "square")))
)
# what each kind of output says of the eight samples
MODALITIES: dict[str, OutputModalityConfig] = {
    "labels": LabelsModalityConfig(labels=("few", "many", "none")),
    "embedding": EmbeddingModalityConfig(),
    "number": NumberModalityConfig(mean=2.0, deviation=1.5),
}


def variants() -> dict[str, ModelConfig]:
    """Models that differ from ``tiny()`` in one part each, by the part's name."""
    base = tiny()
    result = {}
    for name, encoder in ENCODERS.items():
        encoders = {**base.encoders, {"text": "prompt"}.get(encoder.modality, encoder.modality): encoder}
        result[f"encoder {name}"] = replace(base, encoders=encoders, codecs=codecs_read(encoders))
    for name, fusion in FUSIONS.items():
        result[f"fusion {name}"] = replace(base, fusion=fusion)
    for name, decoder in DECODERS.items():
        result[f"decoder {name}"] = replace(base, decoders={"text": decoder})
    return result


def combined_variants() -> dict[str, ModelConfig]:
    """Fewer models, for what takes long: every fusion, every decoder, and every encoder but those of recordings and clips is in
    one of them at least."""
    base = tiny()
    kinds = ("image", "text", "tabular")
    images, texts, tables = ([name for name, one in ENCODERS.items() if one.modality == kind] for kind in kinds)
    result = {}
    decoders = cycle(DECODERS)
    for k in range(max(map(len, (images, texts, FUSIONS, DECODERS)))):
        image, text, fusion = (list(group)[k % len(group)] for group in (images, texts, FUSIONS))
        decoder = "transformer" if ENCODERS[text] == ENCODERS["transformer shared embedding"] else next(decoders)
        encoders = {"image": ENCODERS[image], "prompt": ENCODERS[text]}
        names = [image, text]
        if k < len(tables):
            encoders["tabular"] = ENCODERS[tables[k]]
            names.append(tables[k])
        config = replace(base, encoders=encoders, fusion=FUSIONS[fusion], decoders={"text": DECODERS[decoder]})
        result[", ".join([*names, fusion, decoder])] = replace(config, codecs=codecs_read(encoders))
    return result


def codecs_read(encoders: Mapping[str, EncoderConfig]) -> dict[str, CodecConfig]:
    """Those whose tokens some encoder reads."""
    return {one.codec: CODECS["fsq of two tones"] for one in encoders.values() if isinstance(one, ImageTokenEncoderConfig)}


def missing_kinds() -> set[str]:
    """Kinds of the unions that no variant above stands for."""
    unions: list[tuple[Any, Sequence[Any]]] = [
        (EncoderConfig, list(ENCODERS.values())),
        (FusionConfig, list(FUSIONS.values())),
        (CodecConfig, list(CODECS.values())),
        (DecoderConfig, [*DECODERS.values(), *IMAGE_DECODERS.values(), *VECTOR_DECODERS.values()]),
        (IndexConfig, list(INDEXES.values())),
    ]
    return {kind for union, parts in unions for kind, config in kinds(union).items() if not any(type(p) is config for p in parts)}


@cache
def samples(number: int = 8) -> tuple[Sample, ...]:
    """Questions about scenes, of unequal lengths, with their answers."""
    task = VisualQuestionAnswering()
    return tuple(task.prepare(example) for example in scene_examples("vqa", "train", number, size=SIZE))


@cache
def tokenizer() -> Tokenizer:
    texts = [text for sample in samples(64) for text in (sample.inputs["prompt"], *sample.targets["text"])]
    return Tokenizer.train(texts, vocab_size=320)


def samples_of(config: ModelConfig) -> tuple[Sample, ...]:
    """The samples with all that a model of ``config`` reads: with a row of a table, a recording and a clip, if it does."""
    rows = [{"size": None if k == 3 else 0.5 * k, "kind": ("round", "square", "other")[k % 3]} for k in range(8)]
    values = zip(rows, recordings(), clips(), strict=True)
    more = [{"tabular": row, "audio": sound, "video": clip} for row, sound, clip in values]
    added = [{name: value for name, value in one.items() if name in config.encoders} for one in more]
    return tuple(replace(one, inputs={**one.inputs, **extra}) for one, extra in zip(samples(), added, strict=True))


@cache
def clips() -> tuple[np.ndarray, ...]:
    """Clips of 1 to 6 frames: those of at least ``FRAMES`` are whole, the others are padded."""
    rng = np.random.default_rng(3)
    return tuple(rng.integers(0, 256, (1 + k % 6, SIZE, SIZE, 3), np.uint8) for k in range(8))


@cache
def recordings() -> tuple[tuple[np.ndarray, int], ...]:
    """Tones of 0.1 to 0.8 seconds, each with its pitch."""
    rate = SOUND.rate
    return tuple(
        (0.5 * np.sin(np.arange(rate * (1 + k) // 10) * 2 * np.pi * 300 * 1.4**k / rate).astype(np.float32), rate)
        for k in range(8)
    )


def inputs(config: ModelConfig | None = None) -> dict[str, InputModality]:
    """Those of ``tiny()``, or of a model of ``config``."""
    every: dict[str, InputModality] = {
        "image": ImageModalityConfig(size=SIZE).build(),
        "prompt": TextModalityConfig(max_length=32).build(tokenizer()),
        "tabular": TABLE.build(),
        "video": VideoModalityConfig(frames=FRAMES, size=SIZE).build(),
        "audio": SOUND.build(),
    }
    return {name: every[name] for name in (config.encoders if config else tiny().encoders)}


def outputs() -> dict[str, OutputModality]:
    return {"text": TextModalityConfig(max_length=24).build(tokenizer()), "image": ImageModalityConfig(size=SIZE).build()}


def interface(config: ModelConfig) -> Interface:
    """Of a model with the parts of ``config``."""
    written = {name: modality.config for name, modality in outputs().items() if name in {**config.decoders, **config.codecs}}
    return Interface({name: modality.config for name, modality in inputs(config).items()}, written, {})


def collator(config: ModelConfig | None = None) -> Collator:
    return Collator(inputs(config), outputs())


def build(config: ModelConfig, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return config.build(inputs(config), outputs()).eval()
