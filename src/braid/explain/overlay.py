"""Renders an explanation as an image: heat maps, shaded words, and tables with bars.

Orange to yellow supports an answer, blue opposes it. Colour-blind people can distinguish these colours (after Okabe and Ito).
Stronger scores are lighter.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from braid.explain.attributions import Attributions, InputAttribution
from braid.explain.over_time import heat_over_time, span, ticks
from braid.shapes import Float, UInt8

FOR = ((120, 50, 0), (230, 100, 0), (255, 226, 70))  # from faint to strong
AGAINST = ((0, 40, 80), (0, 114, 178), (150, 215, 255))
CARD, GAP, LINE, EDGE = 224, 16, 20, 10  # pixels
STRIP = 12  # pixels of heat over time
HEAD = 28  # pixels above the first block of a card
MOST_ROWS = 12  # rows of a table on a card
PAPER, SHEET, INK, SOFT, RULE = (247, 244, 238), (255, 253, 249), (36, 33, 29), (107, 100, 90), (228, 221, 209)


def overlay(
    image: UInt8[np.ndarray, "height width 3"], heat: Float[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The image with its heat map: grey if the heat is low, full colour for the strongest heat."""
    height, width = image.shape[:2]
    smooth = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    strength = np.asarray(smooth) / max(float(np.abs(heat).max()), 1e-12)
    grey = image.astype(np.float64) @ (0.299, 0.587, 0.114)
    base = 0.25 * image + 0.45 * grey[..., None] + 20
    share = np.clip(np.abs(strength), 0, 1)[..., None]
    return np.rint((1 - 0.75 * share) * base + 0.75 * share * colours(strength)).astype(np.uint8)


def colours(strength: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """The colours of values in -1..1."""
    stops = np.linspace(0, 1, 3)
    size = np.clip(np.abs(strength), 0, 1)
    ramps = [np.stack([np.interp(size, stops, [stop[c] for stop in ramp]) for c in range(3)], -1) for ramp in (FOR, AGAINST)]
    return np.where(strength[..., None] >= 0, ramps[0], ramps[1])


def time_strip(heat: Float[np.ndarray, "1 bins"], width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Heat over time as a strip, on a dark ground."""
    ground = np.full((STRIP, width, 3), 30, np.uint8)
    return overlay(ground, heat)


def shade(strength: float) -> str:
    """The background of a word as CSS: stronger values have deeper colours, and dark letters stay readable."""
    return "#{:02x}{:02x}{:02x}".format(*_shade(strength))


def explanation_image(explanation: Attributions) -> UInt8[np.ndarray, "height width 3"]:
    """The explanation as an image: the inputs, then a card per output with text, probability, heat maps, words and bars."""
    cards = [_inputs_card(explanation)]
    cards += [_output_card(explanation, k) for k in range(len(explanation.outputs))]
    columns = min(len(cards), 5)
    rows = [cards[first : first + columns] for first in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    title = textwrap.wrap(f"{explanation.answer}  ({explanation.method})", 26 * columns) or [""]
    top = GAP + (LINE + 4) * len(title)
    canvas = Image.new("RGB", (columns * (CARD + GAP) + GAP, top + sum(heights) + GAP * (len(rows) + 1)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(title):
        draw.text((GAP, GAP + number * (LINE + 4)), line, INK, _font(19))
    y = top + GAP
    for row, height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            x = GAP + column * (CARD + GAP)
            draw.rounded_rectangle((x, y, x + CARD - 1, y + height - 1), 10, SHEET, RULE)
            canvas.paste(card.crop((EDGE, EDGE, CARD - EDGE, card.height - 2)), (x + EDGE, y + EDGE))
        y += height + GAP
    return np.asarray(canvas)


def _inputs_card(explanation: Attributions) -> Image.Image:
    shares = ", ".join(f"{name} {100 * share:.0f}%" for name, share in explanation.shares.items())
    blocks = [_timed(one) if one.times is not None else _pictured(one) for one in explanation.inputs]
    return _card("input", "", [_words(shares.split(" "), [0.0] * len(shares.split(" ")), SOFT), *blocks])


def _output_card(explanation: Attributions, output: int) -> Image.Image:
    blocks = [_timed(one, output) if one.times is not None else _heated(one, output) for one in explanation.inputs]
    return _card(explanation.outputs[output], f"{explanation.probabilities[output]:.2f}", blocks)


def _pictured(one: InputAttribution) -> Image.Image:
    return _fitted(one.image) if one.image is not None else _plain(one)


def _heated(one: InputAttribution, output: int) -> Image.Image:
    if one.image is None:
        return _shaded(one, output)
    return _fitted(overlay(np.asarray(_fitted(one.image)), one.heat_map(output)))


def _timed(one: InputAttribution, output: int | None = None) -> Image.Image:
    """The image of a recording or a clip, its heat over time if an output is given, and an axis of seconds."""
    width, parts = CARD - 2 * EDGE, []
    if one.image is not None:
        picture = np.asarray(_fitted(one.image))
        if output is not None:
            picture = overlay(picture, one.heat_map(output) if one.boxes is not None else heat_over_time(one, output))
        parts.append(Image.fromarray(picture))
    if output is not None:
        parts.append(Image.fromarray(time_strip(heat_over_time(one, output), width)))
    axis = Image.new("RGB", (width, LINE), SHEET)
    draw = ImageDraw.Draw(axis)
    for place, name in ticks(*span(one)):
        length = draw.textlength(name, _font(12))
        draw.text((min(max(0.0, place * width - length / 2), width - length), 2), name, SOFT, _font(12))
    parts.append(axis)
    block = Image.new("RGB", (width, sum(part.height for part in parts)), SHEET)
    y = 0
    for part in parts:
        block.paste(part, (0, y))
        y += part.height
    return block


def _plain(one: InputAttribution) -> Image.Image:
    if one.view.cells:
        return _table(one, [""] * len(one.units), None)
    return _words(one.units, [0.0] * len(one.units))


def _shaded(one: InputAttribution, output: int) -> Image.Image:
    if one.view.cells:
        return _table(one, [f"{value:+.2g}" for value in one.values[output]], one.strengths(output))
    return _words(one.units, one.strengths(output))


def _card(title: str, beside: str, blocks: Sequence[Image.Image]) -> Image.Image:
    card = Image.new("RGB", (CARD, EDGE + HEAD + sum(block.height + 8 for block in blocks)), SHEET)
    draw = ImageDraw.Draw(card)
    draw.text((EDGE, EDGE), _cut(title, CARD - 2 * EDGE - 40, 17), INK, _font(17))
    draw.text((CARD - EDGE, EDGE + 3), beside, SOFT, _font(13), anchor="ra")
    y = EDGE + HEAD
    for block in blocks:
        card.paste(block, (EDGE, y))
        y += block.height + 8
    return card


def _words(words: Sequence[str], strengths: Sequence[float], ink: tuple[int, int, int] = INK) -> Image.Image:
    """Words in lines of a card's width, each on a background of its strength."""
    lines = _lines(words, strengths)
    block = Image.new("RGB", (CARD - 2 * EDGE, LINE * len(lines)), SHEET)
    draw = ImageDraw.Draw(block)
    for row, line in enumerate(lines):
        y = LINE * row
        for x, text, strength in line:
            draw.rectangle((x - 2, y, x + draw.textlength(text, _font(14)) + 2, y + LINE - 2), _shade(strength))
            draw.text((x, y + 1), text, ink, _font(14))
    return block


def _table(one: InputAttribution, scores: Sequence[str], strengths: Sequence[float] | None) -> Image.Image:
    """One row per unit: name, cell, and below them a bar from the middle to the right (for) or to the left (against)."""
    shown = one.strongest(MOST_ROWS)
    height = LINE + (8 if strengths else 2)
    width, middle = CARD - 2 * EDGE, (CARD - 2 * EDGE) / 2
    block = Image.new("RGB", (width, height * len(shown)), SHEET)
    draw = ImageDraw.Draw(block)
    for row, unit in enumerate(shown):
        y = height * row
        draw.text((2, y + 1), _cut(one.units[unit], 86, 14), SOFT, _font(14))
        draw.text((92, y + 1), _cut(one.view.cells.get(one.units[unit]) or "missing", 66, 14), INK, _font(14))
        draw.text((width - 2, y + 2), scores[unit], SOFT, _font(13), anchor="ra")
        if strengths:
            end = middle + strengths[unit] * (middle - 2)
            draw.rectangle((0, y + LINE, width - 1, y + LINE + 3), RULE)
            draw.rectangle((min(middle, end), y + LINE, max(middle, end), y + LINE + 3), FOR[1] if end >= middle else AGAINST[1])
    return block


def _lines(words: Sequence[str], strengths: Sequence[float]) -> list[list[tuple[float, str, float]]]:
    """Break words into lines of a card's width: (position, word, strength)."""
    font, x = _font(14), 2.0
    result: list[list[tuple[float, str, float]]] = [[]]
    for word, strength in zip(words, strengths, strict=True):
        width = font.getlength(word)
        if result[-1] and x + width > CARD - 2 * EDGE - 2:
            result.append([])
            x = 2.0
        result[-1].append((x, word, strength))
        x += width + 7
    return result


def _cut(text: str, width: int, size: int) -> str:
    """Cut a text to a width."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _shade(strength: float) -> tuple[int, int, int]:
    towards = (255, 176, 60) if strength >= 0 else (120, 190, 240)
    share = min(abs(strength), 1.0)
    red, green, blue = (round((1 - share) * paper + share * colour) for paper, colour in zip(SHEET, towards, strict=True))
    return red, green, blue


def _fitted(pixels: UInt8[np.ndarray, "height width 3"]) -> Image.Image:
    """The image at the inner width of a card."""
    image, width = Image.fromarray(pixels), CARD - 2 * EDGE
    return image.resize((width, max(1, round(width * image.height / image.width))), Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
