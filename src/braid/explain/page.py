"""The page of an explanation: one HTML file without scripts, that opens anywhere."""

import base64
import io
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from braid.explain.overlay import colours, overlay, shade, word_strengths
from braid.shapes import UInt8

if TYPE_CHECKING:
    from braid.explain.explanation import Explanation, InputAttribution

TEMPLATE = Path(__file__).with_name("explanation.html")
WIDTH = 320  # pixels of a picture on the page
TOLD = {
    "completeness_gap": ("completeness", "the attributions miss the change of the score by {:.1%} of it"),
    "efficiency_gap": ("efficiency", "the values miss the score of all less that of none by {:.1e}"),
    "input_gap": ("efficiency of the inputs", "what the inputs contribute misses the change of the probabilities by {:.1e}"),
    "standard_error": ("sampling error", "a value's standard error is {:.1%} of the values' mean size"),
    "deletion": ("deletion", "{:.2f} of the probability is left on average while the strongest go first (lower is better)"),
    "insertion": ("insertion", "{:.2f} of it is there on average while the strongest come first (higher is better)"),
    "sensitivity": ("sensitivity", "{:.2f} of the map changes where the model's weights are shuffled (0: it explains no model)"),
}


def explanation_page(explanation: "Explanation") -> str:
    """The whole page: the inputs, and a card for each word of the answer."""
    cards = [_inputs(explanation), *(_output(explanation, k) for k in range(len(explanation.outputs)))]
    known = {**explanation.checks, **explanation.grades}
    message = [f"<dt>{name}</dt><dd>{escape(text.format(known[key]))}</dd>" for key, (name, text) in TOLD.items() if key in known]
    counted = ", ".join(f"{name} {share:.0%}" for name, share in explanation.shares.items())
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(explanation.answer or "an answer"),
        lead=escape(f"{explanation.method}; confidence {explanation.confidence:.2f}; what counted: {counted}"),
        scale=_uri(_scale(), "PNG"),
        cards="\n".join(cards),
        message="".join(message),
    )
    return page.encode(errors="replace").decode()  # what was typed may be no text


def _inputs(explanation: "Explanation") -> str:
    inside = "".join(
        f'<img src="{_uri(_small(one.image), "JPEG")}" alt="{escape(one.name)}">'
        if one.image is not None
        else f'<p class="words">{" ".join(map(escape, one.units))}</p>'
        for one in explanation.inputs
    )
    return f'<figure class="input"><figcaption><b>input</b></figcaption>{inside}{_bars(explanation.shares, "share")}</figure>'


def _output(explanation: "Explanation", output: int) -> str:
    word, chance = explanation.outputs[output], explanation.probabilities[output]
    inside = "".join(_attributed(one, output, word) for one in explanation.inputs)
    contributions = dict(zip((one.name for one in explanation.inputs), explanation.contributions[output].tolist(), strict=True))
    head = f"<figcaption><b>{escape(word)}</b><span>{chance:.2f}</span></figcaption>"
    return f"<figure>{head}{inside}{_bars(contributions, 'adds')}</figure>"


def _attributed(one: "InputAttribution", output: int, word: str) -> str:
    if one.image is not None:
        shown = overlay(_small(one.image), one.heat_map(output))
        return f'<img src="{_uri(shown, "JPEG")}" alt="where the {escape(one.name)} speaks for {escape(word)}">'
    marked = (
        f'<span style="background:{shade(strength)}" title="{one.values[output, k]:+.3g}">{escape(unit)}</span>'
        for k, (unit, strength) in enumerate(zip(one.units, word_strengths(one, output), strict=True))
    )
    return f'<p class="words">{" ".join(marked)}</p>'


def _bars(values: dict[str, float], kind: str) -> str:
    """A bar an input: its share of all, or what it adds to this output."""
    rows = []
    for name, value in values.items():
        message = f"{value:.0%}" if kind == "share" else f"{value:+.2f}"
        side = "against" if value < 0 else "for"
        bar = f'<span class="bar"><span class="{side}" style="width:{min(abs(value), 1):.0%}"></span></span>'
        rows.append(f'<div class="input-bar"><span>{escape(name)}</span>{bar}<span>{message}</span></div>')
    return "".join(rows)


def _small(picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
    image = Image.fromarray(picture)
    size = (WIDTH, max(1, round(WIDTH * image.height / image.width)))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _scale() -> UInt8[np.ndarray, "12 240 3"]:
    """The colours from most against to most for."""
    return np.rint(colours(np.tile(np.linspace(-1, 1, 240), (12, 1)))).astype(np.uint8)


def _uri(image: UInt8[np.ndarray, "height width 3"], kind: str) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=86)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
