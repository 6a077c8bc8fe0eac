"""The tabular modality: the numbers, dates and categories of a table row."""

from braid.modalities.tabular.columns import CategoryColumn, Described, NumberColumn, described
from braid.modalities.tabular.modality import PreparedRow, TabularModality, TabularModalityConfig

__all__ = ["CategoryColumn", "Described", "NumberColumn", "PreparedRow", "TabularModality", "TabularModalityConfig", "described"]
