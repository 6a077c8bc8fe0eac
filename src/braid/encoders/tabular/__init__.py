"""Rows of numbers and categories -> Features, one file a kind."""

from braid.encoders.tabular.ft_transformer import FTTransformerEncoder, FTTransformerEncoderConfig
from braid.encoders.tabular.mlp import MLPEncoder, MLPEncoderConfig

TabularEncoderConfig = FTTransformerEncoderConfig | MLPEncoderConfig

__all__ = [
    "FTTransformerEncoder",
    "FTTransformerEncoderConfig",
    "MLPEncoder",
    "MLPEncoderConfig",
    "TabularEncoderConfig",
]
