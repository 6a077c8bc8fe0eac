"""Inputs damaged on purpose, in a way that a person would still make something of."""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from braid.modalities import ImageModalityConfig
from braid.records import Sample

CELLS = 12  # what is left of a picture's detail, a side
KEPT = 0.5  # the chance that a word stays


def damaged(sample: Sample, name: str, rng: np.random.Generator) -> Sample:
    """A picture loses its detail, a text half of its words; a sample that lacks the input stays as it is."""
    if name not in sample.inputs:
        return sample
    value: Any = sample.inputs[name]
    worse = _fewer_words(value, rng) if name != "image" and isinstance(value, str) else _coarse(value, sample.source)
    return replace(sample, inputs={**sample.inputs, name: worse})


def _coarse(value: Any, source: str) -> Image.Image:
    image = ImageModalityConfig().build().decoded(value, source)
    return image.resize((CELLS, CELLS), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.NEAREST)


def _fewer_words(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    kept = [word for word in words if rng.random() < KEPT]
    return " ".join(kept or words[:1])
