"""Picture decoder that writes tokens row by row: the transformer that writes words, with places in two dimensions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers import GridEmbedding, StepwiseTransformer
from braid.modalities import TokenGrid
from braid.records import Fused, Padded


@dataclass(frozen=True)
class RasterDecoderConfig:
    """One token after another, each from all before it: g_t = softmax(Decoder(h, g_<t)) (as in arXiv:2102.12092).

    ``over`` names an input picture that what is drawn lies over, as an edit does: what was fused of each of its cells is added
    at the ``cell`` x ``cell`` tokens that stand there, before they are chosen. Without that picture nothing is added.
    """

    kind: Literal["raster"] = "raster"
    over: str = ""
    cell: int = 2
    width: int = 256
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "cell", "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, memory_width: int, modality: TokenGrid) -> "RasterDecoder":
        if self.over and (modality.rows % self.cell or modality.columns % self.cell):
            told = (
                f"the codec's {modality.rows} x {modality.columns} tokens do not divide into cells of {self.cell} x {self.cell}"
            )
            raise UserError(f"{told}; set cell to 1 or 2")
        return RasterDecoder(self, memory_width, modality)


class RasterDecoder(StepwiseTransformer):
    """The decode protocol; the code after the last, ``grid.codes``, begins a picture."""

    def __init__(self, config: RasterDecoderConfig, memory_width: int, grid: TokenGrid) -> None:
        embedding = GridEmbedding(grid, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config, self.grid = config, grid
        if config.over:
            self.lay = nn.Linear(memory_width, config.cell**2 * config.width)
            nn.init.zeros_(self.lay.weight)  # so that it begins as without, and may learn to draw first and to edit then
            nn.init.zeros_(self.lay.bias)

    def remember(self, fused: Fused) -> dict[str, Tensor]:
        """What every block reads, and what lies under each place: [batch, length, width]."""
        state = super().remember(fused)
        return {**state, "memory.under": self._under(fused)} if self.config.over else state

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
        logits = self.logits(fused, begun.unsqueeze(1)).squeeze(1).float()
        return F.cross_entropy(logits.flatten(0, 1), target.values.flatten(), label_smoothing=label_smoothing)

    def _under(self, fused: Fused) -> Float[Tensor, "batch length width"]:
        """The picture's cells, each dealt to the tokens that stand on it; zero in a row without one.

        Raises:
            UserError: when the picture's cells are not in h, or are not as many as there are places for.
        """
        over, cell = self.config.over, self.config.cell
        if over not in fused.spans:
            told = f"over is {over!r}, and what was fused has no such part"
            raise UserError(f"{told}; name an input picture, and a fusion that keeps sequences, such as transformer")
        cells = slice(*fused.spans[over])
        values, mask = fused.values[:, cells], fused.mask[:, cells]
        rows, columns = self.grid.rows // cell, self.grid.columns // cell
        if values.shape[1] == 1:  # the one place that stands for an input that no row has
            return values.new_zeros(values.shape[0], self.grid.length, self.config.width)
        if values.shape[1] != rows * columns:
            told = f"the picture {over!r} has {values.shape[1]} cells, and there are {rows} x {columns} of {cell} x {cell} tokens"
            raise UserError(f"{told}; choose cell, or its encoder's patch_size, so that they agree")
        dealt = self.lay(values) * mask.unsqueeze(-1).to(values.dtype)
        grid = dealt.unflatten(1, (rows, columns)).unflatten(3, (cell, cell, -1))
        return grid.transpose(2, 3).reshape(values.shape[0], self.grid.length, -1)
