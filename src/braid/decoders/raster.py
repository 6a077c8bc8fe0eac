"""Image decoder that writes tokens row by row: the transformer of texts, with positions in two dimensions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.layers.attention import Place, StepwiseTransformer
from braid.layers.context import BuildContext
from braid.layers.image_tokens import (
    NO_CODEC,
    GridEmbedding,
    SourceEmbedding,
    TokenCodec,
    copied,
    positions,
    read_tokens,
    source_tokens,
)
from braid.records import Fused, Padded
from braid.shapes import Float, Int

NEVER = -1e4  # as a logit


@dataclass(frozen=True)
class RasterDecoderConfig:
    """One image token after another: g_t = softmax(Decoder(h, g_<t)) (as in arXiv:2102.12092).

    Args:
        edits: an input image that the output is an edited version of (the source). At every place the decoder reads the source's
            token with its neighbourhood, and may copy it (a pointer, arXiv:1704.04368). A row without a source is generated anew.
        width: of a token's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
        source_forcing_probability: that a training row is shown the source's tokens as those before each place. The first token
            that differs gives away the whole edit; without it, the decoder must learn from the instruction.
    """

    kind: Literal["raster"] = "raster"
    edits: str = ""
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1
    source_forcing_probability: float = 0.0

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout", "source_forcing_probability")
        if self.source_forcing_probability and not self.edits:
            raise UserError("source_forcing_probability is set, and edits is not; name the input image whose tokens are shown")

    def build(self, context: BuildContext) -> "RasterDecoder":
        codec = context.codec(context.name, NO_CODEC)
        if not self.edits:
            return RasterDecoder(self, context.memory_width, codec)
        if self.edits not in context.inputs:
            raise UserError(f"edits is {self.edits!r}, which is not an input; {did_you_mean(self.edits, list(context.inputs))}")
        context.check_alike(self.edits, context.name, f"it edits {self.edits!r}")
        return EditingRasterDecoder(self, context.memory_width, codec)


class RasterDecoder(StepwiseTransformer):
    """The decode protocol; the code after the last, ``grid.codes``, begins an image."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, codec: TokenCodec) -> None:
        embedding = GridEmbedding(codec.grid, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, codec.grid
        self.borrowed = [codec]  # in a list, where torch does not look for parameters

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens of the images in ``target``."""
        tokens, memory = read_tokens(self.borrowed[0], target.values), self.remember(fused)
        before = F.pad(self._before(tokens, memory)[:, :-1], (1, 0), value=self.grid.codes).unsqueeze(1)
        vectors = self.read(self.embed(before, memory), memory).flatten(0, 2)
        losses: Tensor = self.embedding.head.losses(vectors, tokens.flatten(), label_smoothing)  # type: ignore[union-attr,operator]
        return self._mixed(losses, vectors, tokens.flatten(), memory).mean()

    def _before(self, tokens: Int[Tensor, "batch length"], memory: Mapping[str, Tensor]) -> Int[Tensor, "batch length"]:
        """The tokens that training shows before each place."""
        return tokens

    def _mixed(
        self,
        losses: Float[Tensor, " tokens"],
        vectors: Float[Tensor, "tokens width"],
        tokens: Int[Tensor, " tokens"],
        memory: Mapping[str, Tensor],
    ) -> Float[Tensor, " tokens"]:
        """``losses`` after other ways to a token are counted in."""
        return losses


class EditingRasterDecoder(RasterDecoder):
    """Edits a source: the state also holds the source's vectors and its tokens (``grid.codes`` in a row without a source)."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, codec: TokenCodec) -> None:
        super().__init__(config, memory_width, codec)
        self.underlay = SourceEmbedding(codec.grid, config.width)
        self.take = nn.Linear(config.width, 1)

    def remember(self, fused: Fused) -> dict[str, Tensor]:
        """Also ``memory.under`` [batch, length, width] and ``memory.given`` [batch, length]."""
        state = super().remember(fused)
        given = fused.given.get(self.config.edits)
        if given is None:
            under = fused.values.new_zeros(fused.values.shape[0], self.grid.length, self.config.width)
            unknown = torch.full(under.shape[:2], self.grid.codes, device=under.device)
            return {**state, "memory.under": under, "memory.given": unknown}
        if given.encoded:
            raise UserError(f"the image decoder edits {self.config.edits!r} and needs its pixels; leave cache_features out")
        source = source_tokens(self.borrowed[0], given)
        known = source.values.masked_fill(~source.mask.view(-1, 1), self.grid.codes)
        return {**state, "memory.under": self.underlay.vectors(source), "memory.given": known}

    def embed(
        self, tokens: Int[Tensor, "batch group length"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length width"]:
        vectors = super().embed(tokens, state, first)
        return vectors + positions(state, "memory.under", first, tokens.shape[-1]).unsqueeze(1)

    def score(
        self, vectors: Float[Tensor, "batch group length width"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length codes"]:
        logits = super().score(vectors, state, first)
        source = positions(state, "memory.given", first, vectors.shape[2]).unsqueeze(1).expand(vectors.shape[:3])
        copy, generate = self._gate(vectors, source)
        return copied(logits.float().log_softmax(-1) + generate.unsqueeze(-1), source, copy)

    def _gate(
        self, vectors: Float[Tensor, "*rows width"], source: Int[Tensor, "*rows"]
    ) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
        """Log-probabilities that the source's token is copied, and that a token is generated."""
        logits = self.take(vectors).squeeze(-1).float().masked_fill(source == self.grid.codes, NEVER)
        return F.logsigmoid(logits), F.logsigmoid(-logits)

    def _before(self, tokens: Int[Tensor, "batch length"], memory: Mapping[str, Tensor]) -> Int[Tensor, "batch length"]:
        if not (self.training and self.config.source_forcing_probability):
            return tokens
        source = memory["memory.given"]
        forced = torch.rand(len(tokens), 1, device=tokens.device) < self.config.source_forcing_probability
        return torch.where(forced & (source != self.grid.codes), source, tokens)

    def _mixed(
        self,
        losses: Float[Tensor, " tokens"],
        vectors: Float[Tensor, "tokens width"],
        tokens: Int[Tensor, " tokens"],
        memory: Mapping[str, Tensor],
    ) -> Float[Tensor, " tokens"]:
        source = memory["memory.given"].flatten()
        copy, generate = self._gate(vectors, source)
        return torch.where(source == tokens, -torch.logaddexp(copy, generate - losses), losses - generate)
