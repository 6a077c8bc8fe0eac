"""A convolutional autoencoder whose middle is finite scalar quantisation (arXiv:2309.15505): no codebook, nothing to collapse."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers.context import BuildContext
from braid.layers.convolution import ChannelNorm, ResidualBlock
from braid.modalities import ImageModality, TokenGrid
from braid.records import Padded
from braid.shapes import Bool, Float, Int

CONTRAST = 0.15  # tones closer than this, of a range of 2, count as one
SATURATED = 0.55  # of the way from light to dark; a shape's darker rim and its middle are both beyond it
NONE = -1e4  # below any pixel
FLAT = 0.15  # a piece whose outline varies less has one tone
STEM = 2  # pixels a side that the first convolution takes together
WINDOW = 7  # pixels a side of an SSIM window


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


@dataclass(frozen=True)
class FSQCodecConfig:
    """A convolutional autoencoder whose middle is rounded to a few levels; its loss is the squared error plus the terms below.

    Args:
        width: channels at half the image's size; doubled with every halving.
        max_width: most channels.
        depth: residual blocks at every size.
        downscale: pixels a side of a token.
        levels: a token is one number for each of these, rounded to so many values; the number of codes is their product.
        tone_levels: levels of a token's colours; ``levels`` are then those of its outline alone. A colour and a shape that
            training never showed together are then as easy as any. None for photos.
        encoder_kernel_size: places a side that the encoder's blocks read. 1 makes tokens that are easier to generate and a
            little blurrier than 3.
        edge_weight: of the absolute error of differences between neighbouring pixels.
        ssim_weight: of 1 - SSIM (as a loss: arXiv:1511.08861).
    """

    kind: Literal["fsq"] = "fsq"
    width: int = 32
    max_width: int = 128
    depth: int = 1
    downscale: int = 8
    levels: tuple[int, ...] = (8, 8, 8, 8)
    tone_levels: tuple[int, ...] = ()
    encoder_kernel_size: int = 3
    edge_weight: float = 0.05
    ssim_weight: float = 0.02

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "max_width", "depth")
        within(self, 0, math.inf, "edge_weight", "ssim_weight")
        if self.downscale < STEM or self.downscale & (self.downscale - 1):
            raise UserError(f"downscale is {self.downscale}; it must be 2, 4, 8, 16 or a higher power of two")
        if self.encoder_kernel_size not in (1, 3):
            raise UserError(f"encoder_kernel_size is {self.encoder_kernel_size}; it must be 1 or 3")
        if not self.levels or min(self.levels) < 2:
            raise UserError(f"levels is {list(self.levels)}; give each number 2 levels or more, such as [8, 8, 8, 8]")
        if self.tone_levels and min(self.tone_levels) < 2:
            message = f"tone_levels is {list(self.tone_levels)}; give each number 2 levels or more"
            raise UserError(f"{message}, such as [4, 4, 4], or leave it empty")

    def build(self, context: BuildContext) -> "FSQCodec":
        size = context.output.size
        if size % self.downscale:
            raise UserError(f"the image's size {size} is not divisible by downscale {self.downscale}")
        return FSQCodec(self, context.output)


class FSQCodec(nn.Module):
    """Pixels as the model takes them (about -1 to 1), in and out."""

    levels: Tensor
    places: Tensor

    def __init__(self, config: FSQCodecConfig, modality: ImageModality) -> None:
        super().__init__()
        self.config = config
        side = modality.size // config.downscale
        parts = [config.levels, config.tone_levels] if config.tone_levels else [config.levels]
        levels = (*config.levels, *config.tone_levels)
        self.grid = TokenGrid(side, side, tuple(map(math.prod, parts)))
        halvings = int(math.log2(config.downscale // STEM))
        widths = [min(config.width * 2**k, config.max_width) for k in range(halvings + 1)]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        places = [math.prod(levels[:k]) for k in range(len(levels))]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.encoder = _encoder(
            1 if config.tone_levels else 3, widths, config.depth, config.encoder_kernel_size, len(config.levels)
        )
        if config.tone_levels:
            wide = widths[-1]
            self.tones = nn.Sequential(nn.Conv2d(3, wide, 1), nn.SiLU(), nn.Conv2d(wide, len(config.tone_levels), 1))
        self.decoder = _decoder(widths[::-1], config.depth, len(levels))

    def encode(self, pixels: Float[Tensor, "n 3 size size"]) -> Int[Tensor, "n length"]:
        steps = self._rounded(self._numbers(pixels))
        return (steps.long() * self.places.view(1, -1, 1, 1)).sum(1).flatten(1)

    def decode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n 3 size size"]:
        steps = tokens.unsqueeze(1) // self.places.view(1, -1, 1) % self.levels.view(1, -1, 1)
        values = self._centred(steps.float())
        return self.decoder(values.view(*values.shape[:2], self.grid.rows, self.grid.columns))

    def loss(self, target: Padded) -> Float[Tensor, ""]:
        """Of reconstructions of ``target``; gradients pass the rounding unchanged (straight-through, arXiv:1308.3432)."""
        numbers = self._numbers(target.values)
        steps = self._between(numbers) + (self._rounded(numbers) - self._between(numbers)).detach()
        reconstructed = self.decoder(self._centred(steps)).float()
        return reconstruction_loss(reconstructed, target, self.config.edge_weight, self.config.ssim_weight)

    def _numbers(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n numbers rows columns"]:
        """In -1..1."""
        if not self.config.tone_levels:
            return torch.tanh(self.encoder(pixels).float())
        outline, tone = two_tone(pixels, self.config.downscale)
        return torch.tanh(torch.cat([self.encoder(outline * 2 - 1), self.tones(tone)], 1).float())

    def _between(self, numbers: Float[Tensor, "n numbers rows columns"]) -> Float[Tensor, "n numbers rows columns"]:
        """-1..1 laid over the levels, each as wide as any other: -0.5 to levels - 0.5."""
        return (numbers + 1) / 2 * self.levels.view(1, -1, 1, 1) - 0.5

    def _rounded(self, numbers: Float[Tensor, "n numbers rows columns"]) -> Float[Tensor, "n numbers rows columns"]:
        most = (self.levels - 1).view(1, -1, 1, 1)
        return torch.minimum(self._between(numbers).round().clamp(min=0), most)

    def _centred(self, steps: Float[Tensor, "n numbers *cells"]) -> Float[Tensor, "n numbers *cells"]:
        """0 to levels - 1 as -1 to 1."""
        most = (self.levels - 1).view(1, -1, *[1] * (steps.ndim - 2))
        return steps / most * 2 - 1


def _encoder(channels: int, widths: list[int], depth: int, kernel: int, numbers: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], STEM + 2, stride=STEM, padding=1)]
    for width, following in zip(widths, [*widths[1:], 0], strict=True):
        layers += [ResidualBlock(width, kernel) for _ in range(depth)]
        if following:
            layers.append(nn.Conv2d(width, following, 4, stride=2, padding=1))
    return nn.Sequential(*layers, ChannelNorm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], numbers, 1))


def _decoder(widths: list[int], depth: int, numbers: int) -> nn.Sequential:
    """Grows by nearest neighbours and a convolution, which leaves no checkerboard; the last step deals channels to pixels."""
    layers: list[nn.Module] = [nn.Conv2d(numbers, widths[0], 3, padding=1)]
    for width, following in zip(widths, [*widths[1:], 0], strict=True):
        layers += [ResidualBlock(width) for _ in range(depth)]
        if following:
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, following, 3, padding=1)]
    last = nn.Conv2d(widths[-1], 3 * STEM**2, 3, padding=1)
    return nn.Sequential(*layers, ChannelNorm(widths[-1]), nn.SiLU(), last, nn.PixelShuffle(STEM))


def reconstruction_loss(
    made: Float[Tensor, "n 3 size size"], target: Padded, edge_weight: float, ssim_weight: float
) -> Float[Tensor, ""]:
    """Squared error, edges and structure, over the real pixels."""
    real: Bool[Tensor, "n 1 size size"] = target.mask.unsqueeze(1)
    loss = _mean((made - target.values) ** 2, real)
    if edge_weight:
        for axis in (2, 3):
            both = real.narrow(axis, 1, real.shape[axis] - 1) & real.narrow(axis, 0, real.shape[axis] - 1)
            loss = loss + edge_weight * _mean((made.diff(dim=axis) - target.values.diff(dim=axis)).abs(), both)
    if ssim_weight:
        inside = F.avg_pool2d(real.float(), WINDOW, 1) == 1
        loss = loss + ssim_weight * _mean(1 - _similarity(made, target.values), inside)
    return loss


def _mean(errors: Float[Tensor, "n channels rows columns"], real: Bool[Tensor, "n 1 rows columns"]) -> Float[Tensor, ""]:
    return (errors * real).sum() / (real.sum() * errors.shape[1]).clamp(min=1)


def _similarity(one: Float[Tensor, "n 3 size size"], other: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 3 rows columns"]:
    """SSIM of every window (Wang et al. 2004), for values that span 2."""
    stable_mean, stable_variance = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_one, mean_other = F.avg_pool2d(one, WINDOW, 1), F.avg_pool2d(other, WINDOW, 1)
    variance_one = F.avg_pool2d(one * one, WINDOW, 1) - mean_one**2
    variance_other = F.avg_pool2d(other * other, WINDOW, 1) - mean_other**2
    together = F.avg_pool2d(one * other, WINDOW, 1) - mean_one * mean_other
    light = (2 * mean_one * mean_other + stable_mean) / (mean_one**2 + mean_other**2 + stable_mean)
    return light * (2 * together + stable_variance) / (variance_one + variance_other + stable_variance)
