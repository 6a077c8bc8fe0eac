"""Levels: several depths of a convolutional network, and the colours of an image, as features.

The last layer of a network keeps what its own training needed. Colour, texture and layout are in the layers before it (Head2Toe,
arXiv:2201.03529).
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.layers.attention import grid_boxes, grid_features
from braid.records import Features, Padded
from braid.shapes import Float

SIZE = 64  # cells a side, at most, on which colours are counted
EDGE = 16  # the border is this part of a side
CONTRAST = 0.2  # a cell that differs by so much from the border, in 0..1, is foreground
FLOOR = 1e-3  # weight of a cell that does not differ, so that an image of one colour has weights, too
HUES, SHADES, RGB = 16, 4, 8  # bins of the histograms
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole image


@dataclass(frozen=True)
class LevelsConfig:
    """What an image encoder gives beside, or instead of, the cells of its last feature map.

    Every feature map is averaged over the image, and over its foreground (what differs from the border). The averages of early,
    middle and late maps make a group each; so do two colour histograms of the foreground. Every group is standardised (batch norm
    without parameters, as in arXiv:2111.06377) and has a layer of its own.

    Args:
        width: of each group's layer; the encoder gives them as one vector.
        dropout: probability that a value is dropped in training.
        cells: keep the cells of the last feature map; the groups are then positions before the first cell, as wide as a cell.
    """

    width: int = 128
    dropout: float = 0.3
    cells: bool = False

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width")
        within(self, 0, 1, "dropout")


class Levels(nn.Module):
    """Feature maps and pixels -> ``describe`` (nothing trained, so that it can be cached) -> ``read``.

    Args:
        channels: of each feature map.
        mean, std: of the image's channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: LevelsConfig, channels: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.config, self.cell_width = config, channels[-1]
        thirds = np.array_split(np.asarray(channels), 3)
        self.sizes = (*(2 * int(third.sum()) for third in thirds), HUES * SHADES * SHADES, RGB**3)
        self.width = self.cell_width if config.cells else config.width * len(self.sizes)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(size, affine=False) for size in self.sizes)
        width = self.cell_width if config.cells else config.width
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Dropout(config.dropout), nn.Linear(size, width), nn.LayerNorm(width)) for size in self.sizes
        )

    def describe(self, maps: Sequence[Tensor], inputs: Padded) -> Features:
        """The groups, one after the other in rows as wide as a cell; then the cells, if they are kept.

        Args:
            maps: [n, channels, rows, columns] each, from the largest to the smallest.
        """
        device = inputs.values.device.type
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            colours, real = _halved(inputs.values.float() * self.std + self.mean, inputs.mask.unsqueeze(1).float())
            near = real * (_contrast(colours, real) + FLOOR)
            means = [_mean(one.float(), weight) for one in maps for weight in (real, near)]
            flat = torch.cat([*means, *_histograms(colours, near)], 1)
        rows = -(-flat.shape[1] // self.cell_width)
        values = F.pad(flat, (0, rows * self.cell_width - flat.shape[1])).view(-1, rows, self.cell_width)
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        if self.config.cells:
            cells = grid_features(maps[-1].float(), inputs.mask)
            values, mask = torch.cat([values, cells.values], 1), torch.cat([mask, cells.mask], 1)
        return Features(values, mask)

    def read(self, described: Features) -> Features:
        """One vector; or one position per group, and the cells."""
        rows = -(-sum(self.sizes) // self.cell_width)
        flat = described.values[:, :rows].flatten(1)[:, : sum(self.sizes)]
        groups = [
            layer(_standardised(norm, group))
            for layer, norm, group in zip(self.layers, self.norms, flat.split(self.sizes, 1), strict=True)
        ]
        whole = torch.tensor([WHOLE], device=flat.device)
        if not self.config.cells:
            return Features(torch.cat(groups, 1).unsqueeze(1), described.mask[:, :1], whole)
        cells, real = described.values[:, rows:], described.mask[:, rows:]
        side = math.isqrt(cells.shape[1])
        values = torch.cat([torch.stack(groups, 1), cells], 1)
        mask = torch.cat([described.mask[:, :1].expand(-1, len(groups)), real], 1)
        return Features(values, mask, torch.cat([whole.expand(len(groups), -1), grid_boxes(side, side, flat.device)]))


def _standardised(norm: Any, values: Float[Tensor, "n size"]) -> Float[Tensor, "n size"]:
    """Batch norm; a batch of one image is standardised with the running statistics."""
    if norm.training and len(values) == 1:
        return (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return norm(values)


def _halved(
    colours: Float[Tensor, "n 3 height width"], real: Float[Tensor, "n 1 height width"]
) -> tuple[Float[Tensor, "n 3 rows columns"], Float[Tensor, "n 1 rows columns"]]:
    """Average colours and mask over 2 x 2 pixels until a side has at most ``SIZE`` cells."""
    while colours.shape[2] > SIZE:
        colours, real = _half(colours), _half(real)
    return colours.clamp(0, 1), real


def _half(values: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n channels rows columns"]:
    return F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)


def _contrast(
    colours: Float[Tensor, "n 3 rows columns"], real: Float[Tensor, "n 1 rows columns"]
) -> Float[Tensor, "n 1 rows columns"]:
    """How much each cell differs from the mean colour of the border, 0..1."""
    rows, columns = colours.shape[2:]
    edge = max(1, rows // EDGE)
    inner = F.pad(torch.zeros(1, 1, rows - 2 * edge, columns - 2 * edge, device=colours.device), (edge,) * 4, value=1.0)
    border = inner * real
    mean = (colours * border).sum((2, 3), keepdim=True) / border.sum((2, 3), keepdim=True).clamp(min=FLOOR)
    return ((colours - mean).abs().amax(1, keepdim=True) / CONTRAST).clamp(max=1)


def _mean(
    values: Float[Tensor, "n channels rows columns"], weight: Float[Tensor, "n 1 rows2 columns2"]
) -> Float[Tensor, "n channels"]:
    """The weighted mean of a map; the larger of map and weight is averaged to the size of the other."""
    while values.shape[2] > weight.shape[2]:
        values = _half(values)
    while weight.shape[2] > values.shape[2]:
        weight = _half(weight)
    return (values * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1e-6)


def _histograms(
    colours: Float[Tensor, "n 3 rows columns"], weight: Float[Tensor, "n 1 rows columns"]
) -> list[Float[Tensor, "n bins"]]:
    """Joint histograms of hue, saturation and value, and of red, green and blue: square roots of shares.

    A value between two bins counts in both, so that a small change of colour is a small change of the histogram.
    """
    pixels, weights = colours.flatten(2), weight.flatten(1)
    red, green, blue = pixels.unbind(1)
    most, least = pixels.amax(1), pixels.amin(1)
    spread = most - least
    by_red, by_green = ((green - blue) / (spread + 1e-6)) / 6, ((blue - red) / (spread + 1e-6) + 2) / 6
    by_blue = ((red - green) / (spread + 1e-6) + 4) / 6
    hue = torch.where(most == red, by_red, torch.where(most == green, by_green, by_blue))
    hue = torch.where(hue < 0, hue + 1, hue)
    saturation = spread / (most + 1e-6)
    hsv = _joint(_circular(hue, HUES), _bins(saturation, SHADES), _bins(most, SHADES), weights)
    return [hsv, _joint(_bins(red, RGB), _bins(green, RGB), _bins(blue, RGB), weights)]


def _bins(values: Float[Tensor, "n pixels"], bins: int) -> Float[Tensor, "n bins pixels"]:
    """The share of each bin in a value of 0..1."""
    centres = torch.arange(bins, device=values.device).view(1, -1, 1)
    return (1 - (values.unsqueeze(1) * (bins - 1) - centres).abs()).clamp(min=0)


def _circular(values: Float[Tensor, "n pixels"], bins: int) -> Float[Tensor, "n bins pixels"]:
    """The same for an angle, in 0..1."""
    centres = torch.arange(bins, device=values.device).view(1, -1, 1)
    away = (values.unsqueeze(1) * bins - centres).abs()
    return (1 - torch.minimum(away, bins - away)).clamp(min=0)


def _joint(
    first: Float[Tensor, "n a pixels"],
    second: Float[Tensor, "n b pixels"],
    third: Float[Tensor, "n c pixels"],
    weights: Float[Tensor, "n pixels"],
) -> Float[Tensor, "n bins"]:
    pairs = (first.unsqueeze(2) * second.unsqueeze(1)).flatten(1, 2) * weights.unsqueeze(1)
    counts = (pairs @ third.transpose(1, 2)).flatten(1)
    return (counts / counts.sum(1, keepdim=True).clamp(min=1e-6) + 1e-9).sqrt()
