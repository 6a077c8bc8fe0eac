"""Embedding decoder: a point on the unit sphere, the same for whatever inputs a row has."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.layers.attention import AttentionPooling
from braid.layers.context import BuildContext
from braid.records import Fused
from braid.shapes import Float


@dataclass(frozen=True)
class EmbeddingDecoderConfig:
    """A unit vector a row, for retrieval.

    Args:
        width: of the vector.
    """

    kind: Literal["embedding"] = "embedding"
    width: int = 256

    modality: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        within(self, 1, 1_000_000, "width")

    def build(self, context: BuildContext) -> "EmbeddingDecoder":
        return EmbeddingDecoder(self, context.memory_width)


class EmbeddingDecoder(nn.Module):
    """Attention pooling with one learned query, a projection, and the length taken out.

    ``scale`` and ``bias`` turn cosines into the logits of a contrastive loss: CLIP's inverse temperature
    (arXiv:2103.00020) and SigLIP's bias (arXiv:2303.15343). They are part of the model, for they say what a cosine means.
    """

    def __init__(self, config: EmbeddingDecoderConfig, memory_width: int) -> None:
        super().__init__()
        self.width = config.width
        self.pooling = AttentionPooling(memory_width)
        self.projection = nn.Linear(memory_width, config.width)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, fused: Fused) -> Float[Tensor, "batch width"]:
        return F.normalize(self.projection(self.pooling(fused.values, fused.mask)).float(), dim=-1)
