"""Levels of a spectrogram: several depths of a convolutional network, by bands of frequency, as features.

A network that was trained on photos hears through its first and middle layers (Head2Toe, arXiv:2201.03529). Unlike in a photo, it
matters where a pattern is: at another height, it is another sound.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.shapes import Bool, Float

BANDS = 4  # of frequency, in which maps are averaged
LEAST = 32 * BANDS  # pixels a side of an image whose last map has so many rows
EPSILON = 1e-5


@dataclass(frozen=True)
class SoundLevelsConfig:
    """What an image encoder gives of a piece of a spectrogram instead of the cells of its last map.

    Every map of the first ``stages`` is averaged over the time, in four bands of frequency; so is its deviation. Early, middle
    and late maps are a group each. A group is standardised (batch norm without parameters, as in arXiv:2111.06377) and has a
    layer of its own.

    Args:
        stages: of the network; the later ones know photos, and are removed.
        pieces: give one vector a piece, for texts and moments; else one a recording, from means and deviations over all of it.
        width: of each group's layer.
        dropout: probability that a value is dropped in training.
    """

    stages: int = 6
    pieces: bool = False
    width: int = 128
    dropout: float = 0.4

    def __post_init__(self) -> None:
        within(self, 3, 7, "stages")
        within(self, 1, math.inf, "width")
        within(self, 0, 1, "dropout")


class SoundLevels(nn.Module):
    """Maps -> ``describe`` (nothing trained, so that it can be cached) -> ``read``.

    Args:
        channels: of each map.
    """

    def __init__(self, config: SoundLevelsConfig, channels: Sequence[int]) -> None:
        super().__init__()
        self.pieces, self.map_sizes = config.pieces, [BANDS * count for count in channels]
        self.sizes = [2 * BANDS * int(third.sum()) for third in np.array_split(np.asarray(channels), 3)]
        self.width = config.width * len(self.sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(size, affine=False) for size in self.sizes)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Dropout(config.dropout), nn.Linear(size, config.width), nn.LayerNorm(config.width))
            for size in self.sizes
        )

    def describe(self, maps: Sequence[Tensor], real: Bool[Tensor, "n columns"]) -> Float[Tensor, "n size"]:
        """Means and deviations of every map.

        Args:
            maps: [n, channels, rows, columns] each; rows are frequencies, and columns share the ``columns`` of the image equally.
        """
        device = real.device.type
        with torch.autocast(device, enabled=False) if device != "meta" else nullcontext():
            weights = real.unsqueeze(1).float()
            return torch.cat([part for one in maps for part in _moments(one.float(), weights)], 1)

    def read(
        self, described: Float[Tensor, "n pieces size"], mask: Bool[Tensor, "n pieces"]
    ) -> tuple[Float[Tensor, "n length width"], Bool[Tensor, "n length"]]:
        """One vector a piece, or one a recording, and where they are real."""
        if not self.pieces:
            described, mask = self._whole(described, mask), mask.any(1, keepdim=True)
        groups = zip(self.layers, self.norms, described.split(self.sizes, 2), strict=True)
        return torch.cat([layer(_standardised(norm, group, mask)) for layer, norm, group in groups], 2), mask

    def _whole(self, described: Float[Tensor, "n pieces size"], mask: Bool[Tensor, "n pieces"]) -> Float[Tensor, "n 1 size"]:
        """Means and deviations over all pieces, from those of each."""
        share = mask.unsqueeze(2).to(described.dtype)
        share = share / share.sum(1, keepdim=True).clamp(min=1)
        parts = []
        for part in described.split([2 * size for size in self.map_sizes], 2):
            means, deviations = part.chunk(2, 2)
            mean = (means * share).sum(1, keepdim=True)
            variance = ((deviations**2 + (means - mean) ** 2) * share).sum(1, keepdim=True)
            parts += [mean, (variance + EPSILON).sqrt()]
        return torch.cat(parts, 2)


def _moments(one: Float[Tensor, "n channels rows columns"], weights: Float[Tensor, "n 1 width"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the real columns, in bands: [n, channels * bands] each."""
    bands = F.avg_pool2d(one, (one.shape[2] // BANDS, 1))
    share = F.avg_pool1d(weights, weights.shape[2] // one.shape[3]).unsqueeze(1)
    total = share.sum(3).clamp(min=EPSILON)
    mean = (bands * share).sum(3) / total
    variance = ((bands - mean.unsqueeze(3)) ** 2 * share).sum(3) / total
    return mean.flatten(1), (variance + EPSILON).sqrt().flatten(1)


def _standardised(
    norm: nn.Module, values: Float[Tensor, "n length size"], mask: Bool[Tensor, "n length"]
) -> Float[Tensor, "n length size"]:
    """Batch norm over the real pieces; a single one is standardised with the running statistics."""
    if not norm.training:
        return norm(values.flatten(0, 1)).view_as(values)
    pieces = values[mask]
    if len(pieces) < 2:
        return (values - norm.running_mean) / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
    result = torch.zeros_like(values)
    result[mask] = norm(pieces).to(values.dtype)
    return result
