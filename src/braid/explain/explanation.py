"""Why a model gave its answer, saved as a page or an image."""

from pathlib import Path

from PIL import Image

from braid.errors import UserError
from braid.explain.attributions import Attributions
from braid.explain.overlay import explanation_image
from braid.explain.page import explanation_page
from braid.files import whole, write_whole

SUFFIXES = (".html", ".png")


class Explanation(Attributions):
    """One answer, explained, which shows itself: in a notebook, as a page, as an image."""

    def save(self, path: str | Path) -> None:
        """Write a page (``.html``, one file that needs no other and no network) or an image (``.png``).

        Raises:
            UserError: for another suffix.
            OSError: when it cannot be written.
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
        UserError: when an explanation cannot be saved under this name.
    """
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise UserError(f"{place}: an explanation is a page or an image; give a name that ends in {' or '.join(SUFFIXES)}")
    return place
