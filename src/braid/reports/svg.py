"""Line charts as inline SVG: small enough to read here, so that a page needs no library and no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

# Okabe & Ito's colours, told apart by people who see fewer of them; the yellow is too light for a line on paper.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a3568a", "#b87d00", "#3f9fd0", "#24211d")
WIDTH, HEIGHT = 380, 230  # units, about a pixel each where a chart is shown
LEFT, TOP, BOTTOM = 46, 12, 30
LETTER = 6.6  # the mean width of a letter of the charts' font
DRAWN = 240  # points of one line; more would not be seen


@dataclass(frozen=True)
class Line:
    """One line of a chart. ``faint`` is the raw course behind a smooth one: it sets no limits and has no name."""

    name: str
    points: Sequence[Point]
    colour: str
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point that is named in the chart."""

    point: Point
    text: str


def chart(lines: Sequence[Line], across: str, from_zero: bool = False, mark: Mark | None = None) -> str:
    """One chart; lines are named at their ends where there are several. ``across`` names the axis.

    A line that is not a number anywhere, or has no point, is left out; without any there is no chart: "".
    """
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
    """An exponential mean over about ``share`` of the points, free of the pull of its start."""
    keep = 1 - 1 / max(1.0, share * len(points))
    total = weight = 0.0
    result = []
    for x, y in points:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        result.append((x, total / weight if weight else y))
    return result


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most ``DRAWN`` points that keep every peak: the lowest and the highest of each stretch, in order."""
    if len(points) <= DRAWN:
        return list(points)
    size = 2 * len(points) / DRAWN
    result: list[Point] = []
    for k in range(DRAWN // 2):
        stretch = points[int(k * size) : int((k + 1) * size)]
        result += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return result if result[-1] == points[-1] else [*result, points[-1]]


def number(value: float) -> str:
    """Three digits or so, as people write them."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.1e}".replace("e-0", "e-").replace(".0e", "e")
    return f"{value:.3g}"


def rounded(value: float, like: float | None = None) -> str:
    """As many places as figures of the size of ``like``, or its own, are told with: 71.3, 7.13, 0.713."""
    size = abs(value if like is None else like)
    places = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}"


@dataclass(frozen=True)
class Frame:
    """Where values stand in a chart: the limits of both axes, and the right edge."""

    across: tuple[float, float]
    up: tuple[float, float]
    right: float
    single: bool  # one place across: a dot, named by a whole number

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (value - low) / (high - low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        low, high = self.up
        share = min(max((value - low) / (high - low), -0.02), 1.02)  # a faint peak may leave the frame by a hair
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def limits(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """What the axis up spans: a little more than the values."""
    low, high = min(values), max(values)
    if from_zero:
        low = min(low, 0.0)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if from_zero and low == 0 else low - room, high + room)


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, within the limits."""
    rough = (high - low) / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axes(frame: Frame, across: str) -> list[str]:
    """Lines at round numbers up, round numbers across, and the name of the axis."""
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
    """Names at the lines' ends, pushed apart where they would cover each other."""
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
