"""A picture's outline apart from its colours: each piece as two tones, and which of them a pixel has.

Block truncation coding (Delp & Mitchell 1979) and the textures of graphics cards keep a picture so. What is learnt of a shape
in one colour then holds in any other: its outline is the same.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from braid.shapes import Float

CONTRAST = 0.15  # tones nearer than this, of a range of 2, are one
SATURATED = 0.55  # of the way from light to dark; a shape's darker rim and its middle are both beyond it
NONE = -1e4  # below any pixel
FLAT = 0.15  # a piece whose outline varies less has one tone


def two_tone(
    pixels: Float[Tensor, "n 3 height width"], side: int
) -> tuple[Float[Tensor, "n 1 height width"], Float[Tensor, "n 3 rows columns"]]:
    """Of every piece of ``side`` x ``side`` pixels (an even number): how far each pixel is from the light tone around it to the
    dark one, 0 to 1, and the dark tone. A piece of one tone is 1 everywhere, and its tone is its own.

    The dark tone is the lightest of what is dark all around itself: the middle of a shape, not its rim nor its soft edge.
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
