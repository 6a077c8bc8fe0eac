"""Charts of confidence as inline SVG: what is wrong by how much is answered, and how often what is so sure is right."""

from collections.abc import Sequence

from braid.metrics import ReliabilityBin, RiskCoverage
from braid.reports.dots import QUIET
from braid.reports.svg import COLOURS, HEIGHT, WIDTH, Frame, Line, axes, chart, number

STEPS = 100  # points of the curve that no model beats


def risk_chart(curve: RiskCoverage) -> str:
    """Wrong decisions in percent of those that are made, over the percentage that is made, the surest first; between the curve of
    a model whose mistakes are its least sure decisions, and that of one whose confidence knows nothing."""
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
    """A bar for each tenth of confidence, as high as its decisions are right and the darker the more they are. A dot on it stands
    at their mean confidence: on the diagonal, where that is the chance of being right."""
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
