"""Picture decoder that writes tokens row by row: the transformer that writes words, with places in two dimensions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import Place, StepwiseTransformer
from braid.layers.image_tokens import GridEmbedding, TokenSurroundings
from braid.modalities import TokenGrid
from braid.records import Fused, Padded
from braid.shapes import Float, Int

NEVER = -1e4  # as a logit


@dataclass(frozen=True)
class RasterDecoderConfig:
    """One token after another, each from all before it: g_t = softmax(Decoder(h, g_<t)) (as in arXiv:2102.12092).

    ``over`` names an input picture that what is drawn lies over, as an edit does: what its own token at a place is, and what is
    around it, is added there before that place's token is chosen; and with a chance of its own at every place, that token is
    taken as it is (a pointer, as in arXiv:1704.04368). Without that picture nothing is added or taken.

    ``unaided``: in training, the chance that a row is shown that picture's tokens in place of those drawn before. What is drawn
    first gives away all that follows, so that else a single token tells which of several things is meant to change.
    """

    kind: Literal["raster"] = "raster"
    over: str = ""
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1
    unaided: float = 0.0

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout", "unaided")
        if self.unaided and not self.over:
            raise UserError("unaided is set, and over is not: it names the picture whose tokens are shown then")

    def build(self, memory_width: int, modality: TokenGrid) -> "RasterDecoder":
        return RasterDecoder(self, memory_width, modality)


class Underlay(TokenSurroundings):
    """A picture's tokens, each with what is around it, at half the width."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__(grid, max(width // 2, 1))
        self.widen = nn.Linear(max(width // 2, 1), width)
        nn.init.zeros_(self.widen.weight)  # begins as without, so that a model may learn to draw first and to edit then
        nn.init.zeros_(self.widen.bias)

    def laid(self, given: Padded) -> Float[Tensor, "batch length width"]:
        """Zero in a row that has no picture."""
        vectors: Float[Tensor, "batch length width"] = self.widen(self(given.values).flatten(2).transpose(1, 2))
        return vectors * given.mask.view(-1, 1, 1).to(vectors.dtype)


class RasterDecoder(StepwiseTransformer):
    """The decode protocol; the code after the last, ``grid.codes``, begins a picture."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        embedding = GridEmbedding(grid, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid
        if config.over:
            self.underlay = Underlay(grid, config.width)
            self.take = nn.Linear(config.width, 1)

    def remember(self, fused: Fused) -> dict[str, Tensor]:
        """What every block reads; what lies under each place, [batch, length, width]; and its token, ``grid.codes`` where nothing
        does: [batch, length]."""
        state = super().remember(fused)
        if not self.config.over:
            return state
        given = fused.tokens.get(self.config.over)
        rows = fused.values.shape[0]
        if given is None:
            under = fused.values.new_zeros(rows, self.grid.length, self.config.width)
            return {
                **state,
                "memory.under": under,
                "memory.given": torch.full(under.shape[:2], self.grid.codes, device=under.device),
            }
        known = given.values.masked_fill(~given.mask.view(-1, 1), self.grid.codes)
        return {**state, "memory.under": self.underlay.laid(given), "memory.given": known}

    def embed(
        self, tokens: Int[Tensor, "batch group length"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length width"]:
        vectors = super().embed(tokens, state, first)
        if not self.config.over:
            return vectors
        return vectors + _from(state["memory.under"], first, tokens.shape[-1]).unsqueeze(1)

    def score(
        self, vectors: Float[Tensor, "batch group length width"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length codes"]:
        logits = super().score(vectors, state, first)
        if not self.config.over:
            return logits
        given = _from(state["memory.given"], first, vectors.shape[2]).unsqueeze(1).expand(vectors.shape[:3])
        taken, chosen = self._taken(vectors, given)
        logs = logits.float().log_softmax(-1) + chosen.unsqueeze(-1)
        place = given.clamp(max=self.grid.codes - 1).unsqueeze(-1)
        return logs.scatter(-1, place, torch.logaddexp(logs.gather(-1, place), taken.unsqueeze(-1)))

    def _taken(
        self, vectors: Float[Tensor, "*rows width"], given: Int[Tensor, "*rows"]
    ) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
        """Log-chances that the given token is taken, and that one is chosen."""
        taken = self.take(vectors).squeeze(-1).float().masked_fill(given == self.grid.codes, NEVER)
        return F.logsigmoid(taken), F.logsigmoid(-taken)

    def _before(self, target: Int[Tensor, "batch length"], memory: Mapping[str, Tensor]) -> Int[Tensor, "batch length"]:
        """The tokens that are shown as drawn: those of ``target``; in an unaided row, of the picture that it lies over."""
        if not (self.training and self.config.unaided):
            return target
        given = memory["memory.given"]
        unaided = torch.rand(len(target), 1, device=target.device) < self.config.unaided
        return torch.where(unaided & (given != self.grid.codes), given, target)

    def loss(self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Any = None) -> Float[Tensor, ""]:
        """Mean cross-entropy of the tokens ``target.values`` [batch, length]."""
        memory = self.remember(fused)
        begun = F.pad(self._before(target.values, memory)[:, :-1], (1, 0), value=self.grid.codes).unsqueeze(1)
        vectors = self.read(self.embed(begun, memory), memory).flatten(0, 2)
        tokens = target.values.flatten()
        losses: Tensor = self.embedding.head.losses(vectors, tokens, label_smoothing)  # type: ignore[union-attr,operator]
        if self.config.over:
            given = memory["memory.given"].flatten()
            taken, chosen = self._taken(vectors, given)
            losses = torch.where(given == tokens, -torch.logaddexp(taken, chosen - losses), losses - chosen)
        return losses.mean()


def _from(values: Tensor, first: Place, length: int) -> Tensor:
    """So many positions [batch, length, ...] from ``first`` on."""
    if isinstance(first, Tensor):
        return values.index_select(1, first + torch.arange(length, device=values.device))
    return values[:, first : first + length]
