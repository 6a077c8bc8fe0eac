"""Why a model said what it said: scores for every patch and word, for every word of the answer; saved as a page or a picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braid.errors import UserError
from braid.explain.overlay import contact_picture, painted
from braid.explain.page import explanation_page
from braid.files import whole, write_whole
from braid.shapes import Float, UInt8

ENDINGS = (".html", ".png")


@dataclass(frozen=True, eq=False)
class InputAttribution:
    """One input. A picture has ``boxes`` (left, top, right, bottom in 0..1) for its patches and its ``picture``, a text neither:
    its ``units`` are its words.

    ``values`` of one output are comparable with each other; above 0 speaks for the output, below against it.
    """

    name: str
    units: tuple[str, ...]
    values: Float[np.ndarray, "outputs units"]
    boxes: Float[np.ndarray, "units 4"] | None = None
    image: UInt8[np.ndarray, "height width 3"] | None = None

    def heat_map(self, output: int) -> Float[np.ndarray, "rows columns"]:
        """The scores of a picture's patches on a grid as fine as the finest of them."""
        assert self.boxes is not None
        return painted(self.boxes, self.values[output])


@dataclass(frozen=True, eq=False)
class Explanation:
    """One answer, explained.

    ``outputs`` are the words of a text, the labels that were given, or one number; ``chances`` their probabilities in 0..1 (of a
    number, its distance from the mean in standard deviations). ``contributions``: the exact Shapley value of each input in
    those. ``checks`` are what the method found about itself, ``grades`` how far to believe it: ``deletion`` (lower is better) and
    ``insertion`` (higher is better) in 0..1, ``sensitivity`` to shuffled weights in 0..1, where 0 would be an explanation of
    the picture and not of the model.
    """

    method: str
    answer: str
    confidence: float
    outputs: tuple[str, ...]
    probabilities: Float[np.ndarray, " outputs"]
    inputs: tuple[InputAttribution, ...]
    contributions: Float[np.ndarray, "outputs inputs"]
    checks: Mapping[str, float] = field(default_factory=dict)
    grades: Mapping[str, float] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        """How much of what moved the answer is each input's, in 0..1 (after MM-SHAP, arXiv:2212.08158); 0 where nothing did."""
        moved = np.abs(self.contributions).sum(0)
        total = max(float(moved.sum()), 1e-9)
        return {one.name: float(moved[k]) / total for k, one in enumerate(self.inputs)}

    def save(self, path: str | Path) -> None:
        """Write a page (``.html``, one file that needs no other and no network) or a picture (``.png``).

        Raises:
            UserError: for another ending.
            OSError: when it cannot be written.
        """
        place = check_ending(path)
        if place.suffix.lower() == ".html":
            write_whole(place, self._repr_html_())
            return
        with whole(place) as fresh:
            Image.fromarray(contact_picture(self)).save(fresh, "PNG")

    def _repr_html_(self) -> str:
        return explanation_page(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the pictures, as plain numbers, lists and texts."""
        return {
            "answer": self.answer,
            "confidence": round(self.confidence, 4),
            "method": self.method,
            "outputs": [
                {
                    "text": text,
                    "probability": round(float(self.probabilities[k]), 4),
                    "contributions": {one.name: round(float(self.contributions[k, i]), 4) for i, one in enumerate(self.inputs)},
                    "attributions": {one.name: [round(float(v), 5) for v in one.values[k]] for one in self.inputs},
                }
                for k, text in enumerate(self.outputs)
            ],
            "inputs": {
                one.name: {"words": list(one.units)} if one.boxes is None else {"boxes": np.round(one.boxes, 5).tolist()}
                for one in self.inputs
            },
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
            "checks": {name: round(value, 6) for name, value in self.checks.items()},
            "grades": {name: round(value, 4) for name, value in self.grades.items()},
        }


def check_ending(path: str | Path) -> Path:
    """
    Raises:
        UserError: when an explanation cannot be saved under such a name.
    """
    place = Path(path)
    if place.suffix.lower() not in ENDINGS:
        raise UserError(
            f"{place}: an explanation is saved as a page or a picture; give a name that ends in {' or '.join(ENDINGS)}"
        )
    return place
