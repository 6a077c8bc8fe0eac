"""{input: Features} -> Fused, one file a kind."""

from braid.fusions.attention import AttentionFusion, AttentionFusionConfig
from braid.fusions.concat import ConcatFusionConfig, SequenceConcatFusion, VectorConcatFusion
from braid.fusions.transformer import TransformerFusion, TransformerFusionConfig
from braid.fusions.weighted import WeightedFusion, WeightedFusionConfig

FusionConfig = AttentionFusionConfig | ConcatFusionConfig | TransformerFusionConfig | WeightedFusionConfig

__all__ = [
    "AttentionFusion",
    "AttentionFusionConfig",
    "ConcatFusionConfig",
    "FusionConfig",
    "SequenceConcatFusion",
    "TransformerFusion",
    "TransformerFusionConfig",
    "VectorConcatFusion",
    "WeightedFusion",
    "WeightedFusionConfig",
]
