"""A page of images with texts: one HTML file without scripts, which needs no network."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from braid.files.names import writable

TEMPLATE = Path(__file__).with_name("gallery.html")


@dataclass(frozen=True)
class Card:
    """One image of the page.

    Args:
        image: its data URI; "" if it cannot be shown, None if there is no image.
        text: the text below the image.
        share: the length of a bar, 0 to 1, with the text ``measure`` beside it; None for no bar.
        credit: a note in small letters, such as the source.
        error: a message in another colour, shown instead of the text.
    """

    image: str | None
    text: str = ""
    share: float | None = None
    measure: str = ""
    credit: str = ""
    error: str = ""


def gallery(title: str, heading: str, lead: str, cards: Iterable[Card], footer: Iterable[str], beside: str = "") -> str:
    """Return the page as HTML.

    Args:
        footer: paragraphs of HTML; all other arguments are plain text.
        beside: the data URI of an image beside the heading.
    """
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        heading=escape(heading),
        lead=escape(lead),
        beside=f'  <img src="{escape(beside)}" alt="">' if beside else "",
        cards="\n".join(map(_card, cards)),
        footer="\n".join(f"  <p>{paragraph}</p>" for paragraph in footer),
    )
    return writable(page)


def _card(card: Card) -> str:
    image = ""
    if card.image is not None:
        shown = f'<img src="{escape(card.image)}" alt="{escape(card.text)}">'
        image = shown if card.image else '<div class="missing">no image</div>'
    kind, text = ("error", card.error) if card.error else ("caption", card.text)
    message = f'<p class="{kind}">{escape(text)}</p>' if text else ""
    if card.share is not None:
        bar = f'<span class="bar"><span style="width:{round(100 * card.share)}%"></span></span>'
        message += f'<p class="sure">{bar}{escape(card.measure)}</p>'
    return f'<figure>{image}<figcaption>{message}<p class="credit">{escape(card.credit)}</p></figcaption></figure>'
