"""Charts as inline SVG, without a library or scripts: lines, intervals, metrics against cost, and confidence."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from braid.metrics import ReliabilityBin, RiskCoverage

Point = tuple[float, float]

# The colours of Okabe & Ito, which colour-blind people can distinguish, without yellow, which is too light for lines.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a3568a", "#b87d00", "#3f9fd0", "#24211d")
WIDTH, HEIGHT = 380, 230  # units of about one pixel
LEFT, TOP, BOTTOM = 46, 12, 30
LETTER = 6.6  # mean width of a letter in the charts' font
DRAWN = 240  # maximum points of one line; more would not be visible
ROW = 24  # units between two rows of metrics
QUIET = "#8a8378"  # colour of baselines and controls
HUGE = 1e100  # values from here on are not drawn, and neither is NaN
STEPS = 100  # points of the curve of a perfect model


@dataclass(frozen=True)
class Line:
    """One line of a chart. ``faint`` is for raw values behind a smoothed line: it has no name and does not change the limits."""

    name: str
    points: Sequence[Point]
    colour: str
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point with a label in the chart."""

    point: Point
    text: str


def chart(lines: Sequence[Line], across: str, from_zero: bool = False, mark: Mark | None = None) -> str:
    """A line chart; if there are several lines, their names are at their ends. ``across`` is the label of the x axis.

    A line without points (such as one with only NaN) is left out; without any lines, the result is "".
    """
    lines = [replace(line, points=[point for point in line.points if abs(point[1]) < HUGE]) for line in lines]
    lines = [line for line in lines if line.points]
    clear = [line for line in lines if not line.faint]
    if not clear:
        return ""
    named = clear if len(clear) > 1 else []
    right = 14.0 + max((LETTER * len(line.name) for line in named), default=0.0)
    places = {x for line in clear for x, _ in line.points}
    across_limits = (min(places), max(places)) if len(places) > 1 else (min(places) - 0.5, min(places) + 0.5)
    up_limits = limits([y for line in clear for _, y in line.points], from_zero)
    frame = Frame(across_limits, up_limits, WIDTH - right, len(places) == 1)
    generated = [*axes(frame, across), *(_line(line, frame) for line in lines), *_names(named, frame)]
    message = ", ".join(f"{line.name} ends at {number(line.points[-1][1])}" for line in clear)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(message)}">'
        + "".join(generated)
        + (_mark(mark, frame) if mark else "")
        + "</svg>"
    )


def smooth(points: Sequence[Point], share: float = 0.03) -> list[Point]:
    """An exponential moving average over about ``share`` of the points, with bias correction for the first points."""
    keep = 1 - 1 / max(1.0, share * len(points))
    total = weight = 0.0
    result = []
    for x, y in points:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        result.append((x, total / weight if weight else y))
    return result


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most ``DRAWN`` points that keep all peaks: the lowest and the highest point of each segment, in order."""
    if len(points) <= DRAWN:
        return list(points)
    size = 2 * len(points) / DRAWN
    result: list[Point] = []
    for k in range(DRAWN // 2):
        stretch = points[int(k * size) : int((k + 1) * size)]
        result += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return result if result[-1] == points[-1] else [*result, points[-1]]


def number(value: float) -> str:
    """A number with about three digits."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.1e}".replace("e-0", "e-").replace(".0e", "e")
    return f"{value:.3g}"


def rounded(value: float, like: float | None = None) -> str:
    """A number with decimals that fit the size of ``like``, or its own: 71.3, 7.13, 0.713."""
    size = abs(value if like is None else like)
    places = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}"


@dataclass(frozen=True)
class Frame:
    """Maps values to positions in a chart: the limits of both axes, and the right edge."""

    across: tuple[float, float]
    up: tuple[float, float]
    right: float
    single: bool  # only one x value: a dot, with an integer label

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (value - low) / (high - low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        low, high = self.up
        share = min(max((value - low) / (high - low), -0.02), 1.02)  # a faint peak may leave the frame slightly
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def limits(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """The limits of the y axis, with a small margin around the values."""
    low, high = min(values), max(values)
    if from_zero:
        low = min(low, 0.0)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if from_zero and low == 0 else low - room, high + room)


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Round numbers within the limits; their distance is 1, 2 or 5 times a power of ten."""
    rough = (high - low) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axes(frame: Frame, across: str) -> list[str]:
    """Grid lines and labels of the y axis, labels of the x axis, and its name."""
    result = []
    for value in ticks(*frame.up, number=4):
        y = frame.y(value)
        result.append(f'<line class="grid" x1="{LEFT}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        result.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end">{number(value)}</text>')
    across_ticks = ticks(*frame.across)
    whole = [value for value in across_ticks if value == int(value)]
    for value in whole if len(whole) > 1 or frame.single else across_ticks:
        place = f'x="{frame.x(value):.1f}" y="{HEIGHT - BOTTOM + 15}"'
        result.append(f'<text class="tick" {place} text-anchor="middle">{number(value)}</text>')
    result.append(f'<text class="tick" x="{frame.right:.1f}" y="{HEIGHT - 2}" text-anchor="end">{escape(across)}</text>')
    return result


def _line(line: Line, frame: Frame) -> str:
    points = [(frame.x(x), frame.y(y)) for x, y in thinned(line.points)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    kind = "faint" if line.faint else "line"
    generated = f'<path class="{kind}" stroke="{line.colour}" d="{path}"/>'
    if line.dots and len(line.points) <= 60:
        for (x, y), (across, up) in zip(points, line.points, strict=True):
            title = f"<title>{escape(line.name)} {number(up)} at {number(across)}</title>"
            generated += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{line.colour}">{title}</circle>'
    return generated


def _names(lines: Sequence[Line], frame: Frame) -> list[str]:
    """Names at the ends of lines, moved apart if they would overlap."""
    ends = sorted(((frame.y(line.points[-1][1]) + 3.5, k) for k, line in enumerate(lines)))
    places: list[float] = []
    for y, _ in ends:
        places.append(max(y, places[-1] + 12) if places else y)
    over = max(0.0, places[-1] - (HEIGHT - BOTTOM)) if places else 0.0
    return [
        f'<text class="name" x="{frame.right + 9:.1f}" y="{y - over:.1f}" fill="{lines[k].colour}">{escape(lines[k].name)}</text>'
        for y, (_, k) in zip(places, ends, strict=True)
    ]


def _mark(mark: Mark, frame: Frame) -> str:
    x, y = frame.x(mark.point[0]), frame.y(mark.point[1])
    anchor = "start" if x < LEFT + 60 else "end" if x > frame.right - 40 else "middle"
    above = y - 9 if y > TOP + 16 else y + 18
    return (
        f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        f'<text class="mark" x="{x:.1f}" y="{above:.1f}" text-anchor="{anchor}">{escape(mark.text)}</text>'
    )


NAME, DOT = 11, 4  # units: minimum vertical distance of two names, and radius of a dot


@dataclass(frozen=True, eq=False)
class Figure:
    """A named metric: its mean and interval (None: not known), the values behind the mean, and its cost for charts against cost.
    ``quiet`` marks a baseline."""

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
    """One row per metric: a dot for the mean, strokes for values, a line for the interval. ``across`` is the axis label."""
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
    """Metrics over their costs, as dots; a line connects those that no other beats at the same or lower cost (Pareto)."""
    costs, values = [metric.cost for metric in metrics], [metric.value for metric in metrics]
    frame = Frame(limits(costs, from_zero=False), limits(values, from_zero=False), WIDTH - 14.0, False)
    best = front(metrics, higher)
    path = "M" + "L".join(f"{frame.x(metric.cost):.1f} {frame.y(metric.value):.1f}" for metric in best)
    generated = [*axes(frame, across), f'<path class="line" stroke="{COLOURS[1]}" opacity="0.5" d="{path}"/>']
    for metric in metrics:
        at = f'cx="{frame.x(metric.cost):.1f}" cy="{frame.y(metric.value):.1f}" r="4"'
        generated.append(f'<circle {at} fill="{metric.colour}"/>')
    generated += _figure_names(metrics, frame)
    on_it = ", ".join(metric.name for metric in best)
    return _svg(generated, HEIGHT, [f"not beaten at their cost: {on_it}"])


def front(metrics: Sequence[Figure], higher: bool) -> list[Figure]:
    """The metrics that are better than all cheaper ones, sorted by cost."""
    sign = -1 if higher else 1
    result: list[Figure] = []
    for metric in sorted(metrics, key=lambda one: (one.cost, sign * one.value)):
        if not result or sign * metric.value < sign * result[-1].value:
            result.append(metric)
    return result


def _figure_names(metrics: Sequence[Figure], frame: Frame) -> list[str]:
    """A name beside each dot, without overlaps; a line connects the name to a dot that is further away."""
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
    """Possible positions (left, right, middle) of a name of this length near its dot, the nearest first."""
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


def risk_chart(curve: RiskCoverage) -> str:
    """Risk-coverage chart: the percentage of wrong decisions over the percentage of decisions that are made, most confident
    first. Two other curves show the best order and a random one."""
    whole = float(curve.risk[-1])
    made = [step / STEPS for step in range(1, STEPS + 1)]
    best = [(100 * share, 100 * max(0.0, 1 - (1 - whole) / share)) for share in made]
    model = list(zip((100 * curve.coverage).tolist(), (100 * curve.risk).tolist(), strict=True))
    lines = [
        Line("any order", [(100 * share, 100 * whole) for share in (made[0], 1.0)], QUIET),
        Line("model", model if len(model) > 1 else [(100 * made[0], 100 * whole), *model], COLOURS[0]),
        Line("at best", best, COLOURS[2]),
    ]
    return chart(lines, "answered, %", from_zero=True)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> str:
    """Reliability diagram: one bar per tenth of confidence. Its height is the accuracy, and darker bars have more decisions. A
    dot is at the mean confidence; for calibrated confidence it is on the diagonal."""
    frame = Frame((0.0, 100.0), (0.0, 100.0), WIDTH - 14.0, False)
    most = max(one.count for one in bins)
    generated = axes(frame, "confidence, %")
    for one in bins:
        left, right, top = frame.x(100 * one.low), frame.x(100 * one.high), frame.y(100 * one.accuracy)
        place = f'x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" height="{frame.y(0.0) - top:.1f}"'
        message = f"{number(100 * one.accuracy)}% of {one.count:,} right, {number(100 * one.confidence)}% sure on average"
        shade = 0.2 + 0.6 * (one.count / most) ** 0.5
        generated.append(f'<rect {place} fill="{COLOURS[0]}" fill-opacity="{shade:.2f}"><title>{message}</title></rect>')
    ends = f"M{frame.x(0.0):.1f} {frame.y(0.0):.1f}L{frame.x(100.0):.1f} {frame.y(100.0):.1f}"
    generated.append(f'<path class="line" stroke="{QUIET}" stroke-dasharray="4 4" d="{ends}"/>')
    for one in bins:
        at = f'cx="{frame.x(100 * one.confidence):.1f}" cy="{frame.y(100 * one.accuracy):.1f}" r="3.5"'
        generated.append(f'<circle {at} fill="{COLOURS[1]}"/>')
    label = ", ".join(f"{number(100 * one.confidence)}% sure: {number(100 * one.accuracy)}% right" for one in bins)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(generated)}</svg>'
