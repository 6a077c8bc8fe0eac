"""Convolutions: a residual block, and networks of inverted residuals (MobileNetV2, EfficientNet-Lite) as image encoders."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.errors import UserError
from braid.layers.attention import end_to_end_grids, grid_features
from braid.layers.levels import Levels, LevelsConfig
from braid.modalities import ImageModality
from braid.records import Features, Padded
from braid.shapes import Float

Padding = Literal["torch", "tensorflow"]
EPSILON = 1e-5


@dataclass(frozen=True)
class Style:
    """The variant of a network. ``padding``: torch pads both sides equally, tensorflow (SAME) right and bottom first. ``folded``:
    batch norm is part of the convolutions' weights and biases. ``epsilon`` belongs to batch norm."""

    padding: Padding = "torch"
    folded: bool = False
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Stage:
    """A stage of ``blocks`` inverted residuals of the same size; the first one has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int = 3


class ChannelNorm(nn.Module):
    """Divides each position by the root mean square of its channels (RMSNorm, arXiv:1910.07467).

    In contrast to GroupNorm, the rest of the image has no influence: the same part of an image gets the same values, and in a
    codec the same tokens, at every position.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, values: Float[Tensor, "n width rows columns"]) -> Float[Tensor, "n width rows columns"]:
        size = (values.float() ** 2).mean(1, keepdim=True)
        return values * (size + EPSILON).rsqrt().to(values.dtype) * self.weight.view(-1, 1, 1).to(values.dtype)


class ResidualBlock(nn.Module):
    """Two convolutions with kernels of size ``kernel`` (odd), and a skip connection."""

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ChannelNorm(width),
            nn.SiLU(),
            nn.Conv2d(width, width, kernel, padding=kernel // 2),
            ChannelNorm(width),
            nn.SiLU(),
            nn.Conv2d(width, width, kernel, padding=kernel // 2),
        )

    def forward(self, values: Float[Tensor, "n width rows columns"]) -> Float[Tensor, "n width rows columns"]:
        return values + self.layers(values)


class Convolution(nn.Conv2d):
    """A convolution with output size / stride, padded like torch or TensorFlow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int, style: Style) -> None:
        self.same = style.padding == "tensorflow" and kernel > 1
        padding = 0 if self.same else (kernel - 1) // 2
        super().__init__(channels, out, kernel, stride, padding, groups=groups, bias=style.folded)

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        if self.same:
            input = F.pad(input, (*self._sides(input.shape[3]), *self._sides(input.shape[2])))
        if self.groups > 1 and self.kernel_size[0] > 3 and torch.is_autocast_enabled(input.device.type):
            # In bfloat16, the gradient of a large depthwise kernel takes 4 to 90 times as long on a CPU.
            with torch.autocast(input.device.type, enabled=False):
                return super().forward(input.float())
        return super().forward(input)

    def _sides(self, size: int) -> tuple[int, int]:
        """Padding before and after, for an output of ceil(size / stride); an odd pixel is added after."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def _norm(channels: int, style: Style) -> nn.Module:
    return nn.Identity() if style.folded else nn.BatchNorm2d(channels, style.epsilon)


class ConvolutionBlock(nn.Sequential):
    """Convolution, batch norm, ReLU6."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int, style: Style) -> None:
        super().__init__(Convolution(channels, out, kernel, stride, groups, style), _norm(out, style), nn.ReLU6())


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; added to the input if the shape is the same (arXiv:1801.04381)."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int, style: Style) -> None:
        super().__init__()
        inner = channels * expansion
        widen = [ConvolutionBlock(channels, inner, 1, 1, 1, style)] if expansion > 1 else []
        depthwise = ConvolutionBlock(inner, inner, kernel, stride, inner, style)
        self.conv = nn.Sequential(*widen, depthwise, Convolution(inner, out, 1, 1, 1, style), _norm(out, style))
        self.residual = stride == 1 and channels == out

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        return input + self.conv(input) if self.residual else self.conv(input)


class InvertedResidualEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one feature vector per cell of 32 x 32 pixels, at each scale; with ``levels`` see there."""

    def __init__(
        self,
        stem: int,
        stages: Sequence[Stage],
        head: int,
        style: Style,
        scales: Sequence[float] = (1.0,),
        levels: LevelsConfig | None = None,
        image: ImageModality | None = None,
    ) -> None:
        super().__init__()
        self.style, self.scales, self.width = style, scales, head
        blocks: list[nn.Module] = [ConvolutionBlock(3, stem, 3, 2, 1, style)]
        channels = stem
        self.stage_widths: list[int] = []
        self.tapped: list[int] = []  # the last block of each stage, and the head
        for stage in stages:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expansion, style))
                channels = stage.channels
            self.tapped.append(len(blocks) - 1)
            self.stage_widths.append(channels)
        self.features = nn.Sequential(*blocks, ConvolutionBlock(channels, head, 1, 1, 1, style))
        self.tapped.append(len(blocks))
        self.levels: Levels | None = None
        if levels is not None and image is not None:
            self.levels = Levels(levels, [*self.stage_widths, head], image.config.mean, image.config.std)
            self.width = self.levels.width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, inputs: Padded) -> Features:
        if self.levels is not None:
            return self.read(self.describe(inputs))
        grids = [self._grid(inputs, scale) for scale in self.scales]
        return grids[0] if len(grids) == 1 else end_to_end_grids(grids)

    @property
    def described_by(self) -> list[nn.Module]:
        """The modules that ``describe`` uses: if they are frozen, its result can be cached."""
        return [block for place, block in enumerate(self.features) if place < self._described]

    @property
    def _described(self) -> int:
        """How many blocks ``describe`` computes: those before the first that is trained, or all if that is the first."""
        trained = (place for place, block in enumerate(self.features) if any(p.requires_grad for p in block.parameters()))
        one_map = self.levels is None and len(self.scales) == 1
        return (next(trained, 0) if one_map else 0) or len(self.features)

    def describe(self, inputs: Padded) -> Features:
        """The result of the convolutions, or of the frozen ones at their start: positions are the cells of its map."""
        if self.levels is not None:
            return self.levels.describe(self.maps(inputs.values), inputs)
        if self._described == len(self.features):
            return self(inputs)
        pixels = inputs.values.contiguous(memory_format=torch.channels_last)
        return grid_features(self.features[: self._described](pixels), inputs.mask)

    def maps(self, pixels: Float[Tensor, "n 3 height width"]) -> list[Tensor]:
        """The last map of each stage, and that of the head: [n, channels, rows, columns], from the largest to the smallest."""
        values = pixels.contiguous(memory_format=torch.channels_last)
        maps = []
        for place, block in enumerate(self.features):
            values = block(values)
            if place in self.tapped:
                maps.append(values)
        return maps

    def shorten(self, stages: int) -> list[int]:
        """Remove all blocks after so many stages, and return the channels of the maps that are left."""
        self.tapped = self.tapped[:stages]
        self.features = nn.Sequential(*list(self.features)[: self.tapped[-1] + 1])
        return self.stage_widths[:stages]

    def read(self, described: Features) -> Features:
        if self.levels is not None:
            return self.levels.read(described)
        if self._described == len(self.features):
            return described
        side = math.isqrt(described.values.shape[1])
        cells = described.values.transpose(1, 2).unflatten(2, (side, side))
        return grid_features(self.features[self._described :](cells), described.mask.unflatten(1, (side, side)))

    def _grid(self, inputs: Padded, scale: float) -> Features:
        pixels, mask = inputs.values, inputs.mask
        if scale != 1.0:
            size = (round(scale * pixels.shape[2]), round(scale * pixels.shape[3]))
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
            mask = F.interpolate(mask.unsqueeze(1).float(), size).squeeze(1) > 0
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # about twice as fast on a CPU
        return grid_features(self.features(pixels), mask)


def check_scales(scales: Sequence[float], levels: LevelsConfig | None) -> None:
    if levels is not None and len(scales) > 1:
        raise UserError(f"levels needs one scale, and scales is {list(scales)}; remove one of the two")
    if not scales or not 0 < min(scales) <= max(scales) <= 8:
        raise UserError(f"scales is {list(scales)}; give one or more numbers above 0 and at most 8, such as [1.0, 1.25]")


def rounded(channels: float) -> int:
    """Round to a multiple of 8, but never down by more than a tenth."""
    whole = max(8, int(channels + 4) // 8 * 8)
    return whole + 8 if whole < 0.9 * channels else whole


def fold(state: Mapping[str, Tensor], epsilon: float) -> dict[str, Tensor]:
    """Fold batch norms into the convolutions before them: a.1 (norm) into a.0, with the names of ``InvertedResidualEncoder``."""
    left = dict(state)
    for name in [name for name in state if name.endswith(".running_mean")]:
        norm = name.removesuffix(".running_mean")
        parent, _, place = norm.rpartition(".")
        before = f"{parent}.{int(place) - 1}"
        scale = left.pop(f"{norm}.weight") / torch.sqrt(left.pop(f"{norm}.running_var") + epsilon)
        left[f"{before}.bias"] = left.pop(f"{norm}.bias") - left.pop(name) * scale
        left[f"{before}.weight"] = left[f"{before}.weight"] * scale.view(-1, 1, 1, 1)
        left.pop(f"{norm}.num_batches_tracked", None)
    return left
