"""FT-Transformer: a row of a table as one token a column."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.layers.attention import EncoderBlock
from braid.layers.columns import CellReader
from braid.layers.context import BuildContext
from braid.modalities import TabularModality
from braid.records import Features, Padded
from braid.shapes import Float


@dataclass(frozen=True)
class FTTransformerEncoderConfig:
    """FT-Transformer (arXiv:2106.11959) without its class token: the fusion reads every column.

    Args:
        width: of a column's token.
        depth: number of transformer blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["ft_transformer"] = "ft_transformer"
    width: int = 128
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "tabular"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "FTTransformerEncoder":
        return FTTransformerEncoder(self, context.input)


class ColumnTokens(nn.Module):
    """A column's bias, plus a number times the column's vector or the vector of a category; one vector a column where the cell is
    missing."""

    def __init__(self, modality: TabularModality, width: int) -> None:
        super().__init__()
        self.cells = CellReader(modality.config.table)
        self.embedding = self.cells.embedding(width)
        size = (self.cells.num_columns, width)
        self.weight, self.bias, self.missing = (nn.Parameter(torch.empty(size)) for _ in range(3))
        for parameter in (self.weight, self.bias, self.missing):
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, inputs: Padded) -> Float[Tensor, "n columns width"]:
        numbers, ids = self.cells(inputs)
        tokens = self.bias + numbers.unsqueeze(-1) * self.weight + self.embedding(ids)
        return torch.where(inputs.mask.unsqueeze(-1), tokens, self.missing)


class FTTransformerEncoder(nn.Module):
    """Cells [n, columns] -> one vector a column. A missing cell has a vector, too, so every position is real."""

    def __init__(self, config: FTTransformerEncoderConfig, modality: TabularModality) -> None:
        super().__init__()
        self.width = config.width
        self.tokens = ColumnTokens(modality, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Padded) -> Features:
        values = self.dropout(self.tokens(inputs))
        mask = torch.ones_like(inputs.mask)
        for block in self.blocks:
            values = block(values, mask.unsqueeze(1))
        columns = torch.arange(values.shape[1], device=values.device, dtype=torch.float32)
        return Features(self.norm(values), mask, columns.unsqueeze(1))
