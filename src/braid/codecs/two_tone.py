"""Splits an image into outline and colours: each piece has two tones, and each pixel a place between them.

Block truncation coding (Delp & Mitchell 1979) and texture compression do the same. A shape then has one outline in all colours:
what is learned in one colour holds in any other.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from braid.shapes import Float

CONTRAST = 0.15  # tones closer than this, of a range of 2, count as one
SATURATED = 0.55  # of the way from light to dark; a shape's darker rim and its middle are both beyond it
NONE = -1e4  # below any pixel
FLAT = 0.15  # a piece whose outline varies less has one tone


def two_tone(
    pixels: Float[Tensor, "n 3 height width"], side: int
) -> tuple[Float[Tensor, "n 1 height width"], Float[Tensor, "n 3 rows columns"]]:
    """The outline, 0 (the light tone) to 1 (the dark tone) at every pixel, and the dark tone of every piece.

    A piece is ``side`` x ``side`` pixels (an even number). One of a single tone is 1 everywhere, and has that tone.

    The dark tone is the lightest of the pixels that are dark all around: the middle of a shape, not its rim nor its soft edge.
    """
    light = F.max_pool2d(pixels, 3 * side, side, side)
    away = torch.linalg.vector_norm(pixels - _spread(light, side), dim=1, keepdim=True)
    farthest = _around(away, side)
    share = (away / (SATURATED * _spread(farthest.clamp(min=CONTRAST), side))).clamp(max=1)
    most, least = F.max_pool2d(share, side), -F.max_pool2d(-share, side)
    dark = (share == 1).to(pixels.dtype)
    inside = -F.max_pool2d(-dark, 3, 1, 1)
    middle, any_dark = torch.where(inside > 0, pixels, NONE), torch.where(dark > 0, pixels, NONE)
    tone = _around(middle, side)
    for wider in (F.max_pool2d(middle, 3 * side, side, side), _around(any_dark, side)):
        tone = torch.where(tone > NONE, tone, wider)
    own = (most - least < FLAT) & (most < 0.5) | (tone.amin(1, keepdim=True) == NONE)  # paper, or ink with no paper near
    one_tone = own | (most - least < FLAT)
    outline = torch.where(_spread(one_tone.to(pixels.dtype), side) > 0, torch.ones_like(share), share)
    return outline, torch.where(own, F.max_pool2d(pixels, side), tone)


def _spread(values: Float[Tensor, "n channels rows columns"], side: int) -> Float[Tensor, "n channels height width"]:
    return F.interpolate(values, scale_factor=float(side), mode="nearest")


def _around(values: Float[Tensor, "n channels height width"], side: int) -> Float[Tensor, "n channels rows columns"]:
    """The highest in each piece and half a piece around it."""
    return F.max_pool2d(values, 2 * side, side, side // 2)
