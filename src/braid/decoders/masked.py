"""Image decoder that predicts all tokens together and keeps the most confident first (MaskGIT, arXiv:2202.04200)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import CrossTransformer
from braid.layers.context import BuildContext
from braid.layers.convolution import ResidualBlock
from braid.layers.image_tokens import NO_CODEC, TokenCodec, TokenHead, TokenVectors, read_tokens
from braid.modalities import TokenGrid
from braid.records import Fused, Padded
from braid.shapes import Float, Int


@dataclass(frozen=True)
class MaskedDecoderConfig:
    """Predicts masked tokens from the others; every training row has another share of masked tokens.

    Convolutions before and after the transformer read each token's neighbours (as in the U-ViT of arXiv:2301.11093).

    Args:
        patch_size: tokens a side that share a position of the transformer.
        width: of a position's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["masked"] = "masked"
    patch_size: int = 1
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch_size", "width", "depth", "heads")
        within(self, 0, 1, "dropout")
        if self.width % self.patch_size:
            raise UserError(f"width {self.width} is not a multiple of patch_size {self.patch_size}")

    def build(self, context: BuildContext) -> "MaskedDecoder":
        codec = context.codec(context.name, NO_CODEC)
        rows, columns, side = codec.grid.rows, codec.grid.columns, self.patch_size
        if rows % side or columns % side:
            message = f"the codec's {rows} x {columns} tokens do not divide into patches of {side} x {side}"
            raise UserError(f"{message}; set patch_size to 1 or 2")
        return MaskedDecoder(self, context.memory_width, codec)


class PatchEmbedding(nn.Module):
    """Tokens to the transformer's positions and back."""

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
        """Positions, and the tokens in their grid, which ``vectors`` needs."""
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
    """The fill protocol; the code after the last, ``grid.codes``, stands for a masked token."""

    def __init__(self, config: MaskedDecoderConfig, memory_width: int, codec: TokenCodec) -> None:
        super().__init__(memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, codec.grid
        self.borrowed = [codec]  # in a list, where torch does not look for parameters
        self.embedding = PatchEmbedding(codec.grid, config.width, config.patch_size, config.dropout)

    def start(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the memory, once a row."""
        return self.remember(fused)

    def fill(self, tokens: Int[Tensor, "batch length"], state: dict[str, Tensor]) -> Float[Tensor, "batch length codes"]:
        """Logits of every token, masked or not."""
        return self.embedding.head(self._vectors(tokens, state))

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the masked tokens of the images in ``target``; evaluation masks the same ones every time."""
        tokens = read_tokens(self.borrowed[0], target.values)
        hidden = self._hidden(tokens)
        vectors = self._vectors(tokens.masked_fill(hidden, self.grid.codes), self.start(fused))
        return self.embedding.head.losses(vectors[hidden], tokens[hidden], label_smoothing).mean()

    def _vectors(self, tokens: Int[Tensor, "batch length"], state: dict[str, Tensor]) -> Float[Tensor, "batch length narrow"]:
        positions, grid = self.embedding(tokens)
        read = self.read(positions.unsqueeze(1), state, causal=False)
        return self.embedding.vectors(read.squeeze(1), grid)

    def _hidden(self, tokens: Int[Tensor, "batch length"]) -> Tensor:
        """A share cos(pi/2 u) of each row, u uniform in 0..1, and at least one: the shares that generation goes through."""
        rng = None if self.training else torch.Generator(tokens.device).manual_seed(0)
        batch, length = tokens.shape
        share = torch.rand(batch, 1, generator=rng, device=tokens.device)
        number = (length * torch.cos(math.pi / 2 * share)).ceil().clamp(1, length)
        order = torch.rand(batch, length, generator=rng, device=tokens.device).argsort(1).argsort(1)
        return order < number
