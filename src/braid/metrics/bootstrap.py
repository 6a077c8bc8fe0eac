"""How far a figure may be from the truth, by resampling the items it was measured on (Efron 1979)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

RESAMPLES, SEED = 1000, 0


def interval(
    items: Float[np.ndarray, "items columns"],
    figure: Callable[[Float[np.ndarray, "resamples columns"]], Float[np.ndarray, " resamples"]],
    share: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval that holds ``share`` of the resampled figures.

    Args:
        figure: the figure of each row of mean columns: items that are drawn again, averaged.
    """
    number = len(items)
    drawn = np.random.default_rng(SEED).multinomial(number, np.full(number, 1 / number), size=RESAMPLES) / number
    low, high = np.quantile(figure(drawn @ items), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
