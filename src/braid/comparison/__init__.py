"""Fair comparisons of many runs: the same data, budget, seeds and stopping rule for every cell."""

from braid.comparison.config import ComparisonConfig, comparison_of, read_comparison, within_time
from braid.comparison.loop import compare

__all__ = ["ComparisonConfig", "compare", "comparison_of", "read_comparison", "within_time"]
