"""{input: Features} -> Fused, one file a kind."""

from braid.fusions.attention import AttentionFusion, AttentionFusionConfig
from braid.fusions.bilinear import BilinearFusion, BilinearFusionConfig
from braid.fusions.bottleneck import BottleneckFusion, BottleneckFusionConfig
from braid.fusions.co_attention import CoAttentionFusion, CoAttentionFusionConfig
from braid.fusions.concat import ConcatFusionConfig, SequenceConcatFusion, VectorConcatFusion
from braid.fusions.film import FilmFusion, FilmFusionConfig
from braid.fusions.gated import GatedFusion, GatedFusionConfig
from braid.fusions.late import LateFusion, LateFusionConfig
from braid.fusions.transformer import TransformerFusion, TransformerFusionConfig
from braid.fusions.weighted import WeightedFusion, WeightedFusionConfig

FusionConfig = (
    AttentionFusionConfig
    | BilinearFusionConfig
    | BottleneckFusionConfig
    | CoAttentionFusionConfig
    | ConcatFusionConfig
    | FilmFusionConfig
    | GatedFusionConfig
    | LateFusionConfig
    | TransformerFusionConfig
    | WeightedFusionConfig
)

__all__ = [
    "AttentionFusion",
    "AttentionFusionConfig",
    "BilinearFusion",
    "BilinearFusionConfig",
    "BottleneckFusion",
    "BottleneckFusionConfig",
    "CoAttentionFusion",
    "CoAttentionFusionConfig",
    "ConcatFusionConfig",
    "FilmFusion",
    "FilmFusionConfig",
    "FusionConfig",
    "GatedFusion",
    "GatedFusionConfig",
    "LateFusion",
    "LateFusionConfig",
    "SequenceConcatFusion",
    "TransformerFusion",
    "TransformerFusionConfig",
    "VectorConcatFusion",
    "WeightedFusion",
    "WeightedFusionConfig",
]
