"""A plain MLP over a row of a table."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.config import within
from braid.layers.columns import CellReader
from braid.layers.context import BuildContext
from braid.modalities import TabularModality
from braid.records import Features, Padded


@dataclass(frozen=True)
class MLPEncoderConfig:
    """Numbers, flags of missing cells and embeddings of categories through linear layers, to one vector a row.

    Args:
        width: of every layer.
        depth: number of layers.
        category_width: of a category's embedding.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["mlp"] = "mlp"
    width: int = 256
    depth: int = 2
    category_width: int = 16
    dropout: float = 0.1

    modality: ClassVar[str] = "tabular"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "category_width")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "MLPEncoder":
        return MLPEncoder(self, context.input)


class MLPEncoder(nn.Module):
    """Cells [n, columns] -> one vector a row, real even where all of its cells are missing."""

    def __init__(self, config: MLPEncoderConfig, modality: TabularModality) -> None:
        super().__init__()
        self.width = config.width
        self.cells = CellReader(modality.config.table)
        self.embedding = self.cells.embedding(config.category_width)
        width = self.cells.num_columns * (2 + config.category_width)
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.width), nn.GELU(), nn.Dropout(config.dropout)]
            width = config.width
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Padded) -> Features:
        numbers, ids = self.cells(inputs)
        missing = (~inputs.mask).to(numbers.dtype)
        values = self.layers(torch.cat([numbers, missing, self.embedding(ids).flatten(1)], 1)).unsqueeze(1)
        real = torch.ones_like(inputs.mask[:, :1])
        return Features(values, real, values.new_tensor([[-1.0]]))
