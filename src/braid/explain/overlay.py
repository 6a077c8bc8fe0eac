"""Heat maps over pictures: orange to yellow for what speaks for an answer, blue for what speaks against it.

Both are told apart by people who see fewer colours (after Okabe and Ito), and the more, the lighter.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from braid.shapes import Float, UInt8

if TYPE_CHECKING:
    from braid.explain.explanation import Explanation, InputAttribution

FOR = ((120, 50, 0), (230, 100, 0), (255, 226, 70))  # from faint to strong
AGAINST = ((0, 40, 80), (0, 114, 178), (150, 215, 255))
FINEST = 64  # rows and columns of a heat map
CARD, GAP, LINE = 224, 16, 20  # pixels, of a picture that is saved
PAPER, INK, SOFT = (255, 253, 249), (36, 33, 29), (107, 100, 90)


def painted(boxes: Float[np.ndarray, "units 4"], values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "rows columns"]:
    """Each box's value spread over its area, on a grid as fine as the smallest box; boxes may lie over each other."""
    if not len(boxes):
        return np.zeros((1, 1))
    sizes = (boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0])
    rows, columns = (int(min(FINEST, max(1, round(1 / float(size.min()))))) for size in sizes)
    down, across = _covered(boxes[:, 1], boxes[:, 3], rows), _covered(boxes[:, 0], boxes[:, 2], columns)
    density = values / (sizes[0] * sizes[1])
    return np.asarray(np.einsum("u,ur,uc->rc", density, down, across))


def _covered(first: Float[np.ndarray, " units"], last: Float[np.ndarray, " units"], bins: int) -> Float[np.ndarray, "units bins"]:
    """The share of each of ``bins`` equal parts of 0..1 that lies between ``first`` and ``last``."""
    edges = np.arange(bins + 1) / bins
    inside = np.minimum(last[:, None], edges[1:]) - np.maximum(first[:, None], edges[:-1])
    return np.clip(inside, 0, None) * bins


def overlay(
    image: UInt8[np.ndarray, "height width 3"], heat: Float[np.ndarray, "rows columns"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The picture, faded to grey where its heat is low; the strongest of the map has the full colour."""
    height, width = image.shape[:2]
    smooth = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    strength = np.asarray(smooth) / max(float(np.abs(heat).max()), 1e-12)
    grey = image.astype(np.float64) @ (0.299, 0.587, 0.114)
    base = 0.25 * image + 0.45 * grey[..., None] + 20
    share = np.clip(np.abs(strength), 0, 1)[..., None]
    return np.rint((1 - 0.75 * share) * base + 0.75 * share * colours(strength)).astype(np.uint8)


def colours(strength: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    """The colours of -1..1."""
    stops = np.linspace(0, 1, 3)
    size = np.clip(np.abs(strength), 0, 1)
    ramps = [np.stack([np.interp(size, stops, [stop[c] for stop in ramp]) for c in range(3)], -1) for ramp in (FOR, AGAINST)]
    return np.where(strength[..., None] >= 0, ramps[0], ramps[1])


def word_strengths(one: "InputAttribution", output: int) -> list[float]:
    """The scores of a text's words, as shares of the strongest."""
    values = one.values[output]
    most = max(float(np.abs(values).max(initial=0.0)), 1e-12)
    return [float(value) / most for value in values]


def contact_picture(explanation: "Explanation") -> UInt8[np.ndarray, "height width 3"]:
    """The inputs, then a card for each output: word and probability, the heat map, the words of the texts in colour."""
    cards = [_inputs_card(explanation)]
    cards += [_output_card(explanation, k) for k in range(len(explanation.outputs))]
    columns = min(len(cards), 5)
    rows = [cards[first : first + columns] for first in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    title = textwrap.wrap(f"{explanation.answer}  ({explanation.method})", 30 * columns) or [""]
    top = GAP + (LINE + 4) * len(title)
    canvas = Image.new("RGB", (columns * (CARD + GAP) + GAP, top + sum(heights) + GAP * (len(rows) + 1)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(title):
        draw.text((GAP, GAP + number * (LINE + 4)), line, INK, _font(19))
    y = top + GAP
    for row, height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            canvas.paste(card, (GAP + column * (CARD + GAP), y))
        y += height + GAP
    return np.asarray(canvas)


def _inputs_card(explanation: "Explanation") -> Image.Image:
    images = [_fitted(one.image) for one in explanation.inputs if one.image is not None]
    shares = [f"{name} {100 * share:.0f}%" for name, share in explanation.shares.items()]
    texts = [(one.units, [0.0] * len(one.units)) for one in explanation.inputs if one.boxes is None]
    return _card("input", ", ".join(shares), images, texts)


def _output_card(explanation: "Explanation", output: int) -> Image.Image:
    images = [
        _fitted(overlay(np.asarray(_fitted(one.image)), one.heat_map(output)))
        for one in explanation.inputs
        if one.image is not None
    ]
    texts = [(one.units, word_strengths(one, output)) for one in explanation.inputs if one.boxes is None]
    return _card(explanation.outputs[output], f"{explanation.probabilities[output]:.2f}", images, texts)


def _card(
    word: str, beside: str, images: Sequence[Image.Image], texts: Sequence[tuple[Sequence[str], Sequence[float]]]
) -> Image.Image:
    lines = [_lines(words, strengths) for words, strengths in texts]
    height = 28 + sum(image.height + 6 for image in images) + sum(LINE * len(some) + 6 for some in lines)
    card = Image.new("RGB", (CARD, height), PAPER)
    draw = ImageDraw.Draw(card)
    draw.text((0, 2), word[:22], INK, _font(17))
    draw.text((CARD, 5), beside[:26], SOFT, _font(13), anchor="ra")
    y = 28
    for image in images:
        card.paste(image, (0, y))
        y += image.height + 6
    for some in lines:
        for line in some:
            for x, text, strength in line:
                width = draw.textlength(text, _font(14))
                draw.rectangle((x - 2, y, x + width + 2, y + LINE - 2), _shade(strength))
                draw.text((x, y + 1), text, INK, _font(14))
            y += LINE
        y += 6
    return card


def _lines(words: Sequence[str], strengths: Sequence[float]) -> list[list[tuple[float, str, float]]]:
    """Words in lines of a card's width: (where, word, strength)."""
    font, result, x = _font(14), [[]], 2.0  # type: ignore[var-annotated]
    for word, strength in zip(words, strengths, strict=True):
        width = font.getlength(word)
        if result[-1] and x + width > CARD - 2:
            result.append([])
            x = 2.0
        result[-1].append((x, word, strength))
        x += width + 7
    return result


def _shade(strength: float) -> tuple[int, int, int]:
    """The paper behind a word: the more, the deeper its colour, so that dark letters stay readable."""
    towards = (255, 176, 60) if strength >= 0 else (120, 190, 240)
    share = min(abs(strength), 1.0)
    red, green, blue = (round((1 - share) * paper + share * colour) for paper, colour in zip(PAPER, towards, strict=True))
    return red, green, blue


def shade(strength: float) -> str:
    """``_shade`` as CSS."""
    return "#{:02x}{:02x}{:02x}".format(*_shade(strength))


def _fitted(picture: UInt8[np.ndarray, "height width 3"] | None) -> Image.Image:
    """As wide as a card."""
    assert picture is not None
    image = Image.fromarray(picture)
    return image.resize((CARD, max(1, round(CARD * image.height / image.width))), Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
