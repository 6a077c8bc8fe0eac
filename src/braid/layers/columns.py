"""Converts the cells of a row to numbers and category ids."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from braid.errors import UserError
from braid.modalities.tabular.columns import CategoryColumn, Column
from braid.records import Padded
from braid.shapes import Float, Int


class CellReader(nn.Module):
    """Values [n, columns] -> numbers, and ids in one table of all categories. Both are 0 for a missing cell, or one of the other
    kind.

    Each category column has an id for unseen categories, followed by one id per category.
    """

    first: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        if not columns:
            raise UserError("the modality of its input has no columns yet; a training run fills them in")
        self.num_columns = len(columns)
        first, self.num_ids = [], 1
        for column in columns:
            categories = isinstance(column, CategoryColumn)
            first.append(self.num_ids if categories else 0)
            self.num_ids += len(column.categories) + 1 if isinstance(column, CategoryColumn) else 0
        self.register_buffer("first", torch.tensor(first), persistent=False)

    @property
    def unseen(self) -> Int[Tensor, " columns"]:
        """The ids of unseen categories, one per category column."""
        return self.first[self.first > 0]

    def embedding(self, width: int) -> nn.Embedding:
        """An embedding of all ids; the vectors of unseen categories are initialized to zero."""
        table = nn.Embedding(self.num_ids, width, padding_idx=0)
        nn.init.uniform_(table.weight, -(width**-0.5), width**-0.5)
        with torch.no_grad():
            table.weight[0] = 0
            table.weight[self.unseen] = 0
        return table

    def forward(self, inputs: Padded) -> tuple[Float[Tensor, "n columns"], Int[Tensor, "n columns"]]:
        cells = inputs.values.masked_fill(~inputs.mask, 0.0)
        is_category = self.first > 0
        ids = (cells.masked_fill(~is_category, 0.0).long() + self.first) * inputs.mask.long()
        return cells.masked_fill(is_category, 0.0), ids
