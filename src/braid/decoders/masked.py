"""Picture decoder that fills in all tokens at once, the surest first (MaskGIT, arXiv:2202.04200)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from braid.config import within
from braid.layers import CrossTransformer, GridEmbedding
from braid.modalities import TokenGrid
from braid.records import Fused, Padded


@dataclass(frozen=True)
class MaskedDecoderConfig:
    """Learns to say what hidden tokens are from those that are not; how many are hidden is drawn anew for every row."""

    kind: Literal["masked"] = "masked"
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, memory_width: int, modality: TokenGrid) -> "MaskedDecoder":
        return MaskedDecoder(self, memory_width, modality)


class MaskedDecoder(CrossTransformer):
    """The fill protocol; the code after the last, ``grid.codes``, stands where a token is hidden."""

    def __init__(self, config: MaskedDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        super().__init__(memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid
        self.embedding = GridEmbedding(grid, config.width, config.dropout)

    def start(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the memory, once a row."""
        return self.remember(fused)

    def fill(self, tokens: Int[Tensor, "batch length"], state: dict[str, Tensor]) -> Float[Tensor, "batch length codes"]:
        """What every token might be, seen or hidden."""
        return self.embedding.logits(self.read(self.embedding(tokens.unsqueeze(1)), state, causal=False)).squeeze(1)

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the hidden ones among ``target.values`` [batch, length]; judged, the same ones every time."""
        tokens = target.values
        hidden = self._hidden(tokens)
        logits = self.fill(tokens.masked_fill(hidden, self.grid.codes), self.start(fused))
        return F.cross_entropy(logits[hidden].float(), tokens[hidden], label_smoothing=label_smoothing)

    def _hidden(self, tokens: Int[Tensor, "batch length"]) -> Tensor:
        """A share cos(pi/2 u) of each row, u even in 0..1, and at least one: the shares that drawing goes through."""
        chance = None if self.training else torch.Generator(tokens.device).manual_seed(0)
        batch, length = tokens.shape
        share = torch.rand(batch, 1, generator=chance, device=tokens.device)
        number = (length * torch.cos(math.pi / 2 * share)).ceil().clamp(1, length)
        order = torch.rand(batch, length, generator=chance, device=tokens.device).argsort(1).argsort(1)
        return order < number
