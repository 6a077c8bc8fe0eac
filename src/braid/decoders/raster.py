"""Picture decoder that writes tokens row by row: the transformer that writes words, with places in two dimensions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.convolutions import ResidualBlock
from braid.layers import StepwiseTransformer
from braid.modalities import TokenGrid
from braid.picture_tokens import GridEmbedding, TokenVectors
from braid.records import Fused, Padded


@dataclass(frozen=True)
class RasterDecoderConfig:
    """One token after another, each from all before it: g_t = softmax(Decoder(h, g_<t)) (as in arXiv:2102.12092).

    ``over`` names an input picture that what is drawn lies over, as an edit does: what its own token at a place is, and what is
    around it, is added there before that place's token is chosen. Without that picture nothing is added.
    """

    kind: Literal["raster"] = "raster"
    over: str = ""
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


class Underlay(nn.Module):
    """A picture's tokens, each with what is around it: two residual blocks see four places to each side."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        narrow = max(width // 2, 1)
        self.shape = (grid.rows, grid.columns)
        self.tokens = TokenVectors(grid, narrow)
        self.around = nn.Sequential(ResidualBlock(narrow), ResidualBlock(narrow))
        self.widen = nn.Linear(narrow, width)
        nn.init.zeros_(self.widen.weight)  # begins as without, so that a model may learn to draw first and to edit then
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens: Int[Tensor, "batch length"], there: Bool[Tensor, " batch"]) -> Float[Tensor, "batch length width"]:
        """Zero in a row whose picture is not ``there``."""
        grid = self.around(self.tokens(tokens).transpose(1, 2).unflatten(2, self.shape))
        vectors: Float[Tensor, "batch length width"] = self.widen(grid.flatten(2).transpose(1, 2))
        return vectors * there.view(-1, 1, 1).to(vectors.dtype)


class RasterDecoder(StepwiseTransformer):
    """The decode protocol; the code after the last, ``grid.codes``, begins a picture."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        embedding = GridEmbedding(grid, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid
        if config.over:
            self.underlay = Underlay(grid, config.width)

    def remember(self, fused: Fused) -> dict[str, Tensor]:
        """What every block reads, and what lies under each place: [batch, length, width]."""
        state = super().remember(fused)
        if not self.config.over:
            return state
        given = fused.tokens.get(self.config.over)
        nothing = fused.values.new_zeros(fused.values.shape[0], self.grid.length, self.config.width)
        return {**state, "memory.under": self.underlay(given.values, given.mask) if given else nothing}

    def embed(
        self, tokens: Int[Tensor, "batch group length"], state: Mapping[str, Tensor], first: int = 0
    ) -> Float[Tensor, "batch group length width"]:
        vectors = super().embed(tokens, state, first)
        if not self.config.over:
            return vectors
        return vectors + state["memory.under"][:, None, first : first + tokens.shape[-1]]

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens ``target.values`` [batch, length]."""
        begun = F.pad(target.values[:, :-1], (1, 0), value=self.grid.codes)
        vectors = self.vectors(fused, begun.unsqueeze(1))
        return self.embedding.head.loss(vectors.flatten(0, 2), target.values.flatten(), label_smoothing)  # type: ignore[union-attr,operator]
