"""Picture decoder that fills in all tokens at once, the surest first (MaskGIT, arXiv:2202.04200)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import CrossTransformer
from braid.layers.convolution import ResidualBlock
from braid.layers.image_tokens import TokenHead, TokenVectors
from braid.modalities import TokenGrid
from braid.records import Fused, Padded
from braid.shapes import Float, Int


@dataclass(frozen=True)
class MaskedDecoderConfig:
    """Learns to say what hidden tokens are from those that are not; how many are hidden is drawn anew for every row.

    ``patch`` x ``patch`` neighbouring tokens share a position of the transformer: with 2 it has a quarter of them. Before it
    and after it, convolutions look at each token's neighbours (as in the U-ViT of arXiv:2301.11093).
    """

    kind: Literal["masked"] = "masked"
    patch: int = 1
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch", "width", "depth", "heads")
        within(self, 0, 1, "dropout")
        if self.width % self.patch:
            raise UserError(f"width {self.width} is not a multiple of the patch, {self.patch}")

    def build(self, memory_width: int, modality: TokenGrid) -> "MaskedDecoder":
        if modality.rows % self.patch or modality.columns % self.patch:
            grid = f"{modality.rows} x {modality.columns} tokens"
            raise UserError(f"the codec's {grid} do not divide into patches of {self.patch} x {self.patch}; set patch to 1 or 2")
        return MaskedDecoder(self, memory_width, modality)


class PatchEmbedding(nn.Module):
    """Tokens to the transformer's positions, and back."""

    def __init__(self, grid: TokenGrid, width: int, patch: int, dropout: float = 0.0) -> None:
        super().__init__()
        narrow = width // patch
        self.shape = (grid.rows, grid.columns)
        self.tokens = TokenVectors(grid, narrow)
        self.before = ResidualBlock(narrow)
        self.merge = nn.Conv2d(narrow, width, patch, patch)
        self.places = nn.Embedding(grid.length // patch**2, width)
        self.dropout = nn.Dropout(dropout)
        self.split = nn.ConvTranspose2d(width, narrow, patch, patch)
        self.after = ResidualBlock(narrow)
        self.norm = nn.LayerNorm(narrow)
        self.head = TokenHead(grid, narrow)
        nn.init.normal_(self.places.weight, std=width**-0.5)

    def forward(
        self, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch positions width"], Float[Tensor, "batch narrow rows columns"]]:
        """Positions, and the tokens in their grid, which the way back goes on from."""
        grid = self.before(self.tokens(tokens).transpose(1, 2).unflatten(2, self.shape))
        return self.dropout(self.merge(grid).flatten(2).transpose(1, 2) + self.places.weight), grid

    def vectors(
        self, values: Float[Tensor, "batch positions width"], grid: Float[Tensor, "batch narrow rows columns"]
    ) -> Float[Tensor, "batch length narrow"]:
        """One a token, for ``head``."""
        patch = self.merge.stride[0]
        coarse = values.transpose(1, 2).unflatten(2, (self.shape[0] // patch, self.shape[1] // patch))
        return self.norm(self.after(grid + self.split(coarse)).flatten(2).transpose(1, 2))


class MaskedDecoder(CrossTransformer):
    """The fill protocol; the code after the last, ``grid.codes``, stands where a token is hidden."""

    def __init__(self, config: MaskedDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        super().__init__(memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid
        self.embedding = PatchEmbedding(grid, config.width, config.patch, config.dropout)

    def start(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the memory, once a row."""
        return self.remember(fused)

    def fill(self, tokens: Int[Tensor, "batch length"], state: dict[str, Tensor]) -> Float[Tensor, "batch length codes"]:
        """What every token might be, seen or hidden."""
        return self.embedding.head(self._vectors(tokens, state))

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the hidden ones among ``target.values`` [batch, length]; judged, the same ones every time."""
        tokens = target.values
        hidden = self._hidden(tokens)
        vectors = self._vectors(tokens.masked_fill(hidden, self.grid.codes), self.start(fused))
        return self.embedding.head.losses(vectors[hidden], tokens[hidden], label_smoothing).mean()

    def _vectors(self, tokens: Int[Tensor, "batch length"], state: dict[str, Tensor]) -> Float[Tensor, "batch length narrow"]:
        positions, grid = self.embedding(tokens)
        read = self.read(positions.unsqueeze(1), state, causal=False)
        return self.embedding.vectors(read.squeeze(1), grid)

    def _hidden(self, tokens: Int[Tensor, "batch length"]) -> Tensor:
        """A share cos(pi/2 u) of each row, u even in 0..1, and at least one: the shares that drawing goes through."""
        chance = None if self.training else torch.Generator(tokens.device).manual_seed(0)
        batch, length = tokens.shape
        share = torch.rand(batch, 1, generator=chance, device=tokens.device)
        number = (length * torch.cos(math.pi / 2 * share)).ceil().clamp(1, length)
        order = torch.rand(batch, length, generator=chance, device=tokens.device).argsort(1).argsort(1)
        return order < number
