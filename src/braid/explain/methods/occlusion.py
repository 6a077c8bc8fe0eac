"""Occlusion: the loss of score when a patch is painted over or a word is left out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from braid.explain.subject import Attributed, Subject


@dataclass(frozen=True)
class Occlusion:
    """Zeiler and Fergus (arXiv:1311.2901), at the input: a patch gets the image's mean colour, or a word is left out. The loss of
    score is the attribution."""

    kind: Literal["occlusion"] = "occlusion"

    def attribute(self, subject: Subject) -> Attributed:
        whole = subject.scored(subject.features)
        result = {}
        for name, units in subject.units.items():
            changed = np.flatnonzero(units.removable)
            values = np.zeros((subject.num_outputs, units.number))
            if len(changed):
                kept = np.ones((len(changed), units.number), dtype=bool)
                kept[np.arange(len(changed)), changed] = False
                values[:, changed] = (whole - subject.scored(subject.perturbed({name: kept}))).T
            result[name] = values
        return Attributed(result)
