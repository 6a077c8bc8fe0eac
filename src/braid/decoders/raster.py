"""Picture decoder that writes tokens row by row: the transformer that writes words, with places in two dimensions."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from braid.config import within
from braid.layers import GridEmbedding, StepwiseTransformer
from braid.modalities import TokenGrid
from braid.records import Fused, Padded


@dataclass(frozen=True)
class RasterDecoderConfig:
    """One token after another, each from all before it: g_t = softmax(Decoder(h, g_<t)) (as in arXiv:2102.12092)."""

    kind: Literal["raster"] = "raster"
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, memory_width: int, modality: TokenGrid) -> "RasterDecoder":
        return RasterDecoder(self, memory_width, modality)


class RasterDecoder(StepwiseTransformer):
    """The decode protocol; the code after the last, ``grid.codes``, begins a picture."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        embedding = GridEmbedding(grid, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens ``target.values`` [batch, length]."""
        begun = F.pad(target.values[:, :-1], (1, 0), value=self.grid.codes)
        logits = self.logits(fused, begun.unsqueeze(1)).squeeze(1).float()
        return F.cross_entropy(logits.flatten(0, 1), target.values.flatten(), label_smoothing=label_smoothing)
