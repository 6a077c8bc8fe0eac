"""What a search found, on one page: the query on top, the hits below it, best first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from braid.files.gallery import Card, gallery
from braid.modalities import thumbnail_uri

THUMBNAIL = 480  # pixels, the longer side


@dataclass(frozen=True)
class Tile:
    """One hit of the page: ``score`` is its cosine with the query; ``picture`` is None where the row has none."""

    name: str
    score: float
    caption: str = ""
    image: str | Path | None = None


def contact_sheet(index: str, tiles: Sequence[Tile], text: str = "", image: str | Path | None = None) -> str:
    """A page as HTML that needs no other file: pictures are in it, small; one that cannot be read is told as missing.

    Args:
        index: the name of what was searched.
        tiles: the hits, best first.
        text, picture: the query, one or both.
    """
    asked = text or (Path(image).name if image is not None else "")
    cards = [
        Card(
            image=None if tile.image is None else thumbnail_uri(tile.image, THUMBNAIL),
            text=tile.caption,
            share=min(max(tile.score, 0.0), 1.0),
            measure=f"{tile.score:.3f}",
            credit=tile.name,
        )
        for tile in tiles
    ]
    result = "nothing was found" if not cards else "the nearest one" if len(cards) == 1 else f"the {len(cards)} nearest"
    footer = ["The figure is the cosine of the query with the row, in the space of the model that made the index; 1 is the same."]
    beside = "" if image is None else thumbnail_uri(image, THUMBNAIL)
    return gallery(asked, asked, f"{index}: {result}.", cards, footer, beside)
