"""Charts of single figures as inline SVG: with their intervals one below another, and against what they cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from braid.reports.svg import BOTTOM, COLOURS, HEIGHT, LEFT, LETTER, TOP, WIDTH, Frame, axes, limits, number, rounded, ticks

ROW = 24  # units between two rows of figures
NAME, DOT = 11, 4  # units: between two names that stand below each other, and half a dot
QUIET = "#8a8378"  # what others are measured against


@dataclass(frozen=True, eq=False)
class Figure:
    """A named figure: its interval (None: not known), the values that it is the mean of, and where it is drawn against a cost,
    how much. ``quiet``: something to compare with."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    values: Sequence[float] = ()
    cost: float = 0.0
    quiet: bool = False

    @property
    def colour(self) -> str:
        return QUIET if self.quiet else COLOURS[0]


def intervals(metrics: Sequence[Figure], across: str) -> str:
    """A row each: the mean as a dot, its values as strokes, its interval as a line. ``across`` names the axis."""
    left = 14.0 + LETTER * max(len(metric.name) for metric in metrics)
    known = [end for metric in metrics for end in (metric.low, metric.high) if end is not None]
    low, high = limits([*known, *(value for metric in metrics for value in (metric.value, *metric.values))], from_zero=False)
    height, right = TOP + ROW * len(metrics) + BOTTOM, WIDTH - 46

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    generated = []
    for value in ticks(low, high):
        generated.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        place = f'x="{x(value):.1f}" y="{height - BOTTOM + 15}"'
        generated.append(f'<text class="tick" {place} text-anchor="middle">{number(value)}</text>')
    generated.append(f'<text class="tick" x="{right:.1f}" y="{height - 2}" text-anchor="end">{escape(across)}</text>')
    for row, metric in enumerate(metrics):
        y = TOP + ROW * (row + 0.5)
        generated.append(f'<text x="{left - 10:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{escape(metric.name)}</text>')
        if metric.low is not None and metric.high is not None:
            ends = f'x1="{x(metric.low):.1f}" x2="{x(metric.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            generated.append(f'<line class="line" stroke="{metric.colour}" {ends}/>')
        for value in metric.values:
            at = f'x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{y - 4:.1f}" y2="{y + 4:.1f}"'
            generated.append(f'<line class="line" stroke="{metric.colour}" opacity="0.5" {at}/>')
        generated.append(f'<circle cx="{x(metric.value):.1f}" cy="{y:.1f}" r="4" fill="{metric.colour}"/>')
        message = f'x="{right + 8:.1f}" y="{y + 3.5:.1f}"'
        generated.append(f'<text class="name" {message} fill="{metric.colour}">{rounded(metric.value)}</text>')
    return _svg(generated, height, [f"{metric.name} {rounded(metric.value)}" for metric in metrics])


def against_cost(metrics: Sequence[Figure], across: str, higher: bool) -> str:
    """Figures over what they cost; a line joins those that no other beats at the same cost or less (Pareto)."""
    costs, values = [metric.cost for metric in metrics], [metric.value for metric in metrics]
    frame = Frame(limits(costs, from_zero=False), limits(values, from_zero=False), WIDTH - 14.0, False)
    best = front(metrics, higher)
    path = "M" + "L".join(f"{frame.x(metric.cost):.1f} {frame.y(metric.value):.1f}" for metric in best)
    generated = [*axes(frame, across), f'<path class="line" stroke="{COLOURS[1]}" opacity="0.5" d="{path}"/>']
    for metric in metrics:
        at = f'cx="{frame.x(metric.cost):.1f}" cy="{frame.y(metric.value):.1f}" r="4"'
        generated.append(f'<circle {at} fill="{metric.colour}"/>')
    generated += _names(metrics, frame)
    on_it = ", ".join(metric.name for metric in best)
    return _svg(generated, HEIGHT, [f"not beaten at their cost: {on_it}"])


def front(metrics: Sequence[Figure], higher: bool) -> list[Figure]:
    """Those with a better value than every cheaper one, from the cheapest on."""
    sign = -1 if higher else 1
    result: list[Figure] = []
    for metric in sorted(metrics, key=lambda one: (one.cost, sign * one.value)):
        if not result or sign * metric.value < sign * result[-1].value:
            result.append(metric)
    return result


def _names(metrics: Sequence[Figure], frame: Frame) -> list[str]:
    """A name beside each dot, where it covers no other name and no dot; joined to its dot where that is further off."""
    dots = {metric: (frame.x(metric.cost), frame.y(metric.value)) for metric in metrics}
    taken = [(x - DOT, x + DOT, y) for x, y in dots.values()]
    generated = []
    for metric, (x, y) in sorted(dots.items(), key=lambda one: one[1][1]):
        length = LETTER * len(metric.name)
        free = (place for place in _places(x, y, length) if _free(place, taken))
        start, end, level = next(free, (x + 8, x + 8 + length, y))
        taken.append((start, end, level))
        if level != y:
            line = f'x1="{x:.1f}" y1="{y:.1f}" x2="{start - 2 if start > x else end + 2:.1f}" y2="{level:.1f}"'
            generated.append(f'<line class="faint" stroke="{metric.colour}" {line}/>')
        at = f'x="{start:.1f}" y="{level + 3.5:.1f}"'
        generated.append(f'<text class="name" {at} fill="{metric.colour}">{escape(metric.name)}</text>')
    return generated


def _places(x: float, y: float, length: float) -> Iterator[tuple[float, float, float]]:
    """Where a name of this length may stand by its dot (left, right, middle): the nearer the earlier."""
    for away in range(HEIGHT // NAME):
        for level in dict.fromkeys((y + away * NAME, y - away * NAME)):
            if away and not TOP < level < HEIGHT - BOTTOM - DOT:
                continue
            for start in (x + 8, x - 8 - length):
                if start + length < WIDTH and start > LEFT:
                    yield start, start + length, level


def _free(place: tuple[float, float, float], taken: Sequence[tuple[float, float, float]]) -> bool:
    start, end, level = place
    return all(abs(level - other) >= NAME or end < left or right < start for left, right, other in taken)


def _svg(generated: Sequence[str], height: int, message: Sequence[str]) -> str:
    label = escape(", ".join(message))
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(generated)}</svg>'
