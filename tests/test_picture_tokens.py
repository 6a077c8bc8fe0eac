"""Tokens that say several things at once: their parts, their chances, and outlines apart from colours."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from braid.datasets.scenes import Scenes
from braid.datasets.scenes.drawing import drawing
from braid.datasets.scenes.render import INK, render
from braid.modalities import TokenGrid
from braid.picture_tokens import TokenHead, TokenVectors, digits
from braid.two_tone import two_tone

GRID = TokenGrid(2, 3, (4, 3, 2))
SIDE = 4


def painted(colours: Sequence[str]) -> Tensor:
    """Twelve scenes of a single object, each in all of the colours: [12, colours, 3, 64, 64], in -1..1."""
    world = Scenes(max_objects=1)
    scenes = [drawing(world, "val", k).scene for k in range(12)]
    pictures = [render([replace(one.objects[0], colour=colour)], one.background, 64) for one in scenes for colour in colours]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.unflatten(0, (len(scenes), len(colours)))


def test_a_tokens_parts_are_its_digits_and_the_code_after_the_last_has_a_part_of_its_own() -> None:
    parts = [part.tolist() for part in digits(torch.arange(GRID.codes + 1), GRID)]
    told = [sum(digit * place for digit, place in zip(one, GRID.places, strict=True)) for one in zip(*parts, strict=True)]
    assert told == list(range(25)) and len(set(zip(*parts, strict=True))) == 25
    vectors = TokenVectors(GRID, 8)(torch.arange(25))
    assert vectors.shape == (25, 8) and len(torch.unique(vectors, dim=0)) == 25


@pytest.mark.parametrize("parts", [(24,), (4, 6), (4, 3, 2)])
def test_the_loss_by_parts_is_that_of_whole_tokens(parts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head, values, tokens = TokenHead(TokenGrid(2, 3, parts), 8), torch.randn(24, 8), torch.arange(24)
    logits = head(values)
    assert logits.shape == (24, 24)
    torch.testing.assert_close(head.losses(values, tokens, 0.0).mean(), F.cross_entropy(logits, tokens))


def test_a_shape_has_the_same_outline_in_every_colour_and_a_colour_the_same_tone_in_every_shape() -> None:
    pixels = painted(list(INK))
    outlines, tones = (part.unflatten(0, pixels.shape[:2]) for part in two_tone(pixels.flatten(0, 1), SIDE))
    assert float((outlines - outlines[:, :1]).abs().max()) < 0.25 and float((outlines < 1).float().mean()) > 0.02
    inks = torch.tensor(list(INK.values())).view(1, -1, 3, 1, 1) / 127.5 - 1
    paper = pixels[:, :, :, :1, :1]
    apart = torch.minimum((tones - inks).abs().amax(2), (tones - paper).abs().amax(2))
    assert float(apart.max()) < 0.02  # not the rim's, which is darker, nor a mixture with paper


def test_a_piece_of_one_tone_is_told_by_its_tone_and_one_of_two_by_the_darker() -> None:
    pixels = torch.ones(1, 3, 16, 16)
    pixels[:, :, 6:, :] = torch.tensor([0.5, -0.5, 0.0]).view(3, 1, 1)
    outline, tone = two_tone(pixels, SIDE)
    assert outline[0, 0, :, 0].tolist() == [1.0] * 4 + [0.0] * 2 + [1.0] * 10
    torch.testing.assert_close(tone[0, :, :, 0].T, torch.tensor([[1.0, 1, 1], *[[0.5, -0.5, 0]] * 3]))
