"""The tabular modality: the numbers and categories of a table row."""

from braid.modalities.tabular.columns import CategoryColumn, NumberColumn
from braid.modalities.tabular.modality import PreparedRow, TabularModality, TabularModalityConfig

__all__ = ["CategoryColumn", "NumberColumn", "PreparedRow", "TabularModality", "TabularModalityConfig"]
