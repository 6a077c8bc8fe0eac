"""MobileNetV2: the image encoder for small machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.layers import end_to_end_grids, grid_features
from braid.modalities import ImageModality
from braid.records import Features, Padded

# expansion, channels, blocks, stride of the first block (arXiv:1801.04381, table 2)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass(frozen=True)
class MobileNetEncoderConfig:
    """MobileNetV2 (arXiv:1801.04381) up to its last feature map, with torchvision's parameter names.

    ``padding``: torch pads both sides alike, tensorflow (SAME) the right and bottom first. ``folded``: batch norm is
    part of the convolutions' weights and biases. ``scales``: the picture is read once at each, relative to its size, and the
    grids of all scales are laid end to end.
    """

    kind: Literal["mobilenet"] = "mobilenet"
    width_multiplier: float = 1.0
    padding: Literal["torch", "tensorflow"] = "torch"
    folded: bool = False
    scales: tuple[float, ...] = (1.0,)

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 0.01, 100, "width_multiplier")
        if not self.scales or not 0 < min(self.scales) <= max(self.scales) <= 8:
            raise UserError(f"scales is {list(self.scales)}; give one or more numbers above 0 and at most 8, such as [1.0, 1.25]")

    def build(self, modality: ImageModality) -> "MobileNetEncoder":
        return MobileNetEncoder(self)


class Convolution(nn.Conv2d):
    """A convolution that keeps size / stride, padded as torch or as TensorFlow does."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int, config: MobileNetEncoderConfig) -> None:
        self.same = config.padding == "tensorflow" and kernel > 1
        padding = 0 if self.same else (kernel - 1) // 2
        super().__init__(channels, out, kernel, stride, padding, groups=groups, bias=config.folded)

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        if self.same:
            input = F.pad(input, (*self._sides(input.shape[3]), *self._sides(input.shape[2])))
        return super().forward(input)

    def _sides(self, size: int) -> tuple[int, int]:
        """Pixels before and after, so that the output has ceil(size / stride): the odd one comes after."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def _norm(channels: int, config: MobileNetEncoderConfig) -> nn.Module:
    return nn.Identity() if config.folded else nn.BatchNorm2d(channels)


class ConvolutionBlock(nn.Sequential):
    """Convolution, batch norm, ReLU6."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int, config: MobileNetEncoderConfig) -> None:
        super().__init__(Convolution(channels, out, kernel, stride, groups, config), _norm(out, config), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1; added to the input where the shape stays."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int, config: MobileNetEncoderConfig) -> None:
        super().__init__()
        inner = channels * expansion
        widen = [ConvolutionBlock(channels, inner, 1, 1, 1, config)] if expansion > 1 else []
        depthwise = ConvolutionBlock(inner, inner, 3, stride, inner, config)
        self.conv = nn.Sequential(*widen, depthwise, Convolution(inner, out, 1, 1, 1, config), _norm(out, config))
        self.residual = stride == 1 and channels == out

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        return input + self.conv(input) if self.residual else self.conv(input)


class MobileNetEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one feature vector a cell of 32 x 32 pixels, at each scale."""

    def __init__(self, config: MobileNetEncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = _rounded(32 * config.width_multiplier)
        blocks: list[nn.Module] = [ConvolutionBlock(3, channels, 3, 2, 1, config)]
        for expansion, base, repeats, first_stride in STAGES:
            out = _rounded(base * config.width_multiplier)
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, out, first_stride if repeat == 0 else 1, expansion, config))
                channels = out
        self.width = _rounded(1280 * max(1.0, config.width_multiplier))
        blocks.append(ConvolutionBlock(channels, self.width, 1, 1, 1, config))
        self.features = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, inputs: Padded) -> Features:
        grids = [self._grid(inputs, scale) for scale in self.config.scales]
        return grids[0] if len(grids) == 1 else end_to_end_grids(grids)

    def _grid(self, inputs: Padded, scale: float) -> Features:
        pixels, mask = inputs.values, inputs.mask
        if scale != 1.0:
            size = (round(scale * pixels.shape[2]), round(scale * pixels.shape[3]))
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
            mask = F.interpolate(mask.unsqueeze(1).float(), size).squeeze(1) > 0
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # about twice as fast on a CPU
        return grid_features(self.features(pixels), mask)

    def standard_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's names for those of a folded file that says stem, blocks.N.expand/depthwise/project, head."""
        return {_standard_name(name, len(self.features) - 1): value for name, value in state.items()}


def _standard_name(name: str, last: int) -> str:
    start, _, rest = name.partition(".")
    if start in ("stem", "head"):
        return f"features.{0 if start == 'stem' else last}.0.{rest}"
    if start != "blocks":
        return name
    number, part, field = rest.split(".")
    first = 0 if number == "0" else 1  # the first block does not widen
    place = {"expand": "0.0", "depthwise": f"{first}.0", "project": str(first + 1)}[part]
    return f"features.{int(number) + 1}.conv.{place}.{field}"


def _rounded(channels: float) -> int:
    """To a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
