"""Saves an explanation as an image, or as one HTML page without scripts."""

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from braid.errors import UserError
from braid.explain.attributions import Attributions, InputAttribution
from braid.explain.over_time import heat_over_time, span, strongest_moment, ticks
from braid.explain.overlay import colours, explanation_image, overlay, shade, time_strip
from braid.files import whole, writable, write_whole
from braid.shapes import UInt8

TEMPLATE = Path(__file__).with_name("explanation.html")
WIDTH = 320  # pixels of an image on the page
MOST_ROWS = 16  # rows of a table on a card
INSIDE = 0.06  # of an axis: marks nearer to its ends are moved inwards
MESSAGES = {
    "completeness_gap": ("completeness", "the attributions add up to the change of the score, with an error of {:.1%}"),
    "efficiency_gap": ("efficiency", "the values add up to the score of all units minus that of none, with an error of {:.1e}"),
    "input_gap": (
        "efficiency of the inputs",
        "the inputs' contributions add up to the change of the probabilities, with an error of {:.1e}",
    ),
    "standard_error": ("sampling error", "a value's standard error is {:.1%} of the values' mean size"),
    "deletion": (
        "deletion",
        "on average {:.2f} of the probability is left while the strongest units are removed (lower is better)",
    ),
    "insertion": (
        "insertion",
        "on average {:.2f} of the probability is reached while the strongest units are added (higher is better)",
    ),
    "sensitivity": (
        "sensitivity",
        "{:.2f} of the map changes when the model's weights are shuffled (0: it does not depend on the model)",
    ),
}
SUFFIXES = (".html", ".png")


def explanation_page(explanation: Attributions) -> str:
    """The explanation as an HTML page: the inputs, and a card for each output."""
    cards = [_inputs(explanation), *(_output(explanation, k) for k in range(len(explanation.outputs)))]
    known = {**explanation.checks, **explanation.grades}
    facts = [("note", note) for note in explanation.notes]
    facts += [(name, text.format(known[key])) for key, (name, text) in MESSAGES.items() if key in known]
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(explanation.answer or "an answer"),
        lead=escape(f"method {explanation.method}, confidence {explanation.confidence:.2f}"),
        scale=_uri(_scale(), "PNG"),
        cards="\n".join(cards),
        facts="".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts),
    )
    return writable(page)


def _inputs(explanation: Attributions) -> str:
    inside = "".join(_plain(one) for one in explanation.inputs)
    head = "<figcaption><b>input</b><span>share of the effect</span></figcaption>"
    return f'<figure class="input">{head}{inside}{_bars(explanation.shares, "{:.0%}")}</figure>'


def _plain(one: InputAttribution) -> str:
    if one.times is not None:
        shown = "" if one.image is None else f'<img src="{_uri(_small(one.image), "JPEG")}" alt="{escape(one.name)}">'
        return _played(one) + shown + _axis(one)
    if one.image is not None:
        return f'<img src="{_uri(_small(one.image), "JPEG")}" alt="{escape(one.name)}">'
    if one.view.cells:
        rows = (f"<tr><th>{escape(one.units[unit])}</th><td>{_cell(one, unit)}</td></tr>" for unit in one.strongest(MOST_ROWS))
        return f"<table>{''.join(rows)}</table>{_more(one)}"
    words = f'<p class="words">{" ".join(map(escape, one.units))}</p>'
    return one.view.html() + words if one.view.media else words


def _output(explanation: Attributions, output: int) -> str:
    text, probability = explanation.outputs[output], explanation.probabilities[output]
    inside = "".join(_attributed(one, output, text) for one in explanation.inputs)
    contributions = dict(zip((one.name for one in explanation.inputs), explanation.contributions[output].tolist(), strict=True))
    head = f"<figcaption><b>{escape(text)}</b><span>{probability:.2f}</span></figcaption>"
    return f"<figure>{head}{inside}{_bars(contributions, '{:+.2f}')}</figure>"


def _attributed(one: InputAttribution, output: int, text: str) -> str:
    if one.times is not None:
        return _over_time(one, output, text)
    if one.image is not None:
        shown = overlay(_small(one.image), one.heat_map(output))
        return f'<img src="{_uri(shown, "JPEG")}" alt="where the {escape(one.name)} speaks for {escape(text)}">'
    strengths, values = one.strengths(output), one.values[output]
    if one.view.cells:
        rows = "".join(
            f"<tr><th>{escape(one.units[unit])}</th><td>{_cell(one, unit)}</td>"
            f'<td class="effect" title="{values[unit]:+.3g}">{_from_middle(strengths[unit])}</td></tr>'
            for unit in one.strongest(MOST_ROWS)
        )
        return f"<table>{rows}</table>{_more(one)}"
    marked = (
        f'<span style="background:{shade(strengths[k])}" title="{values[k]:+.3g}">{escape(unit)}</span>'
        for k, unit in enumerate(one.units)
    )
    return f'<p class="words">{" ".join(marked)}</p>'


def _over_time(one: InputAttribution, output: int, text: str) -> str:
    """The image of a recording or a clip under its heat, and a strip of the heat over time, on an axis of seconds."""
    heat, said = heat_over_time(one, output), f"when the {one.name} speaks for {text}, most at {strongest_moment(one, output)}"
    shown = ""
    if one.image is not None:
        places = one.heat_map(output) if one.boxes is not None else heat
        shown = f'<img src="{_uri(overlay(_small(one.image), places), "JPEG")}" alt="{escape(said)}">'
    strip = f'<img class="strip" src="{_uri(time_strip(heat, WIDTH), "PNG")}" alt="{escape(said)}" title="{escape(said)}">'
    return shown + strip + _axis(one)


def _axis(one: InputAttribution) -> str:
    """Seconds below a strip: each is centred on its place, but for those at the ends, which stay inside."""
    marks = []
    for place, name in ticks(*span(one)):
        shift = 0 if place < INSIDE else 100 if place > 1 - INSIDE else 50
        marks.append(f'<span style="left:{100 * place:.1f}%;transform:translateX(-{shift}%)">{escape(name)}</span>')
    return f'<div class="axis">{"".join(marks)}</div>'


def _played(one: InputAttribution) -> str:
    return one.view.html() if one.view.media_type.startswith(("audio/", "video/")) else ""


def _cell(one: InputAttribution, unit: int) -> str:
    return escape(one.view.cells.get(one.units[unit], "")) or "<i>missing</i>"


def _more(one: InputAttribution) -> str:
    weaker = len(one.units) - MOST_ROWS
    return f'<p class="more">and {weaker} weaker {escape(one.kind)}</p>' if weaker > 0 else ""


def _bars(values: Mapping[str, float], form: str) -> str:
    """One bar per input: its share of the total, or its contribution to this output."""
    rows = []
    for name, value in values.items():
        side = "against" if value < 0 else "for"
        bar = f'<span class="bar"><span class="{side}" style="width:{min(abs(value), 1):.0%}"></span></span>'
        rows.append(f'<div class="input-bar"><span>{escape(name)}</span>{bar}<span>{form.format(value)}</span></div>')
    return f'<div class="bars">{"".join(rows)}</div>'


def _from_middle(strength: float) -> str:
    """A bar from the middle to the right (for) or to the left (against)."""
    size = 50 * min(abs(strength), 1.0)
    side, left = ("for", 50.0) if strength >= 0 else ("against", 50.0 - size)
    return f'<span class="bar both"><span class="{side}" style="margin-left:{left:.0f}%;width:{size:.0f}%"></span></span>'


def _small(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
    image = Image.fromarray(pixels)
    size = (WIDTH, max(1, round(WIDTH * image.height / image.width)))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _scale() -> UInt8[np.ndarray, "12 240 3"]:
    """The colour scale, from most negative to most positive."""
    return np.rint(colours(np.tile(np.linspace(-1, 1, 240), (12, 1)))).astype(np.uint8)


def _uri(image: UInt8[np.ndarray, "height width 3"], kind: str) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=86)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


class Explanation(Attributions):
    """The explanation of one answer. It renders in a notebook, and can be saved as a page or an image."""

    def save(self, path: str | Path) -> None:
        """Write a page (``.html``, a single file that needs no network) or an image (``.png``).

        Raises:
            UserError: for another suffix.
            OSError: when the file cannot be written.
        """
        place = check_suffix(path)
        if place.suffix.lower() == ".html":
            write_whole(place, self._repr_html_())
            return
        with whole(place) as fresh:
            Image.fromarray(explanation_image(self)).save(fresh, "PNG")

    def _repr_html_(self) -> str:
        return explanation_page(self)


def check_suffix(path: str | Path) -> Path:
    """
    Raises:
        UserError: when an explanation cannot be saved under this file name.
    """
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise UserError(f"{place}: an explanation is a page or an image; give a name that ends in {' or '.join(SUFFIXES)}")
    return place
