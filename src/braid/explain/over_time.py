"""Explanations over time: the seconds of units, the scores of moments, and their heat as a strip."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from braid.explain.attributions import InputAttribution, painted
from braid.modalities.protocol import TimedModality
from braid.records import Units
from braid.shapes import Float

TICKS = (1, 2, 5)  # times a power of ten: the seconds between two marks of an axis
MOST_TICKS = 5


def seconds_of(modality: Any, units: Units, value: Any, source: str) -> Float[np.ndarray, "units 2"] | None:
    """The times of units in seconds of their file or part, where the modality knows them; None for units without times.

    Raises:
        UserError: when the value cannot be read.
    """
    if units.times is None:
        return None
    return modality.seconds(value, source, units.times) if isinstance(modality, TimedModality) else units.times


def time_names(times: Float[np.ndarray, "units 2"]) -> tuple[str, ...]:
    """Units in words, such as "1.5-2 s"."""
    return tuple(f"{start:.4g}-{end:.4g} s" for start, end in np.round(times, 2))


def of_moments(
    times: Float[np.ndarray, "units 2"], values: Float[np.ndarray, "outputs units"]
) -> tuple[Float[np.ndarray, "moments 2"], Float[np.ndarray, "outputs moments"]]:
    """The distinct times, in order, and the sum of the scores of each: several places of one frame have the same time."""
    distinct, place = np.unique(np.round(times, 6), axis=0, return_inverse=True)
    sums = np.zeros((len(values), len(distinct)))
    np.add.at(sums.T, place.reshape(-1), values.T)
    return distinct, sums


def heat_over_time(one: InputAttribution, output: int) -> Float[np.ndarray, "1 bins"]:
    """The scores of an input from its first second to its last, as a heat map of one row."""
    assert one.times is not None
    moments, sums = of_moments(one.times, one.values)
    first, last = span(one)
    start, end = ((moments[:, side] - first) / (last - first) for side in (0, 1))
    boxes = np.stack([start, np.zeros_like(start), end, np.ones_like(start)], 1)
    return painted(boxes, sums[output])


def span(one: InputAttribution) -> tuple[float, float]:
    """The first and the last second of an input's units."""
    assert one.times is not None
    if not len(one.times):
        return 0.0, 1.0
    first, last = float(one.times[:, 0].min()), float(one.times[:, 1].max())
    return first, max(last, first + 1e-6)


def strongest_moment(one: InputAttribution, output: int) -> str:
    """The moment that speaks most for an output, in words; "" if there is none."""
    assert one.times is not None
    moments, sums = of_moments(one.times, one.values)
    return time_names(moments[sums[output].argmax()][None])[0] if len(moments) else ""


def points_in_time(times: Float[np.ndarray, "units 2"], values: Float[np.ndarray, " units"], moment: Sequence[float]) -> bool:
    """The pointing game (arXiv:1608.00507) in time: whether the middle of the moment with the highest score lies in the known
    ``moment``, or the known one lies inside of it."""
    if not len(times):
        return False
    moments, sums = of_moments(times, values[None])
    start, end = moments[sums[0].argmax()]
    return bool(moment[0] <= (start + end) / 2 <= moment[1] or (start <= moment[0] and moment[1] <= end))


def ticks(first: float, last: float) -> list[tuple[float, str]]:
    """Marks of a time axis: the place, in 0..1, and the seconds in words."""
    whole = last - first
    sizes = sorted(10.0**power * step for power in range(-3, 6) for step in TICKS)
    step = next((size for size in sizes if whole / size <= MOST_TICKS), whole)
    marks = np.arange(np.ceil(first / step - 1e-6), np.floor(last / step + 1e-6) + 1) * step
    return [((mark - first) / whole, f"{mark:.4g} s") for mark in (np.round(marks, 9) + 0.0).tolist()]
