"""{input: Features} -> Fused, one file a kind."""

from braid.fusions.attention import AttentionFusion, AttentionFusionConfig
from braid.fusions.concat import ConcatFusionConfig, SequenceConcatFusion, VectorConcatFusion
from braid.fusions.weighted import WeightedFusion, WeightedFusionConfig

FusionConfig = AttentionFusionConfig | ConcatFusionConfig | WeightedFusionConfig

__all__ = [
    "AttentionFusion",
    "AttentionFusionConfig",
    "ConcatFusionConfig",
    "FusionConfig",
    "SequenceConcatFusion",
    "VectorConcatFusion",
    "WeightedFusion",
    "WeightedFusionConfig",
]
