"""Files: atomic writes, which survive ``kill -9`` and a full disk; files inside a tar; a gallery page."""

from braid.files.reading import RECIPES, file_inside, shipped
from braid.files.writing import alone, held, ready, replaced, settle, whole, write_whole

__all__ = ["RECIPES", "alone", "file_inside", "held", "ready", "replaced", "settle", "shipped", "whole", "write_whole"]
