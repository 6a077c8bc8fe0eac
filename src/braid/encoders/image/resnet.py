"""ResNet: residual convolutions, in the three usual depths."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.layers.attention import grid_features
from braid.layers.context import BuildContext
from braid.records import Features, Padded
from braid.shapes import Float

# blocks of the four stages (arXiv:1512.03385, table 1)
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@dataclass(frozen=True)
class ResNetEncoderConfig:
    """ResNet (arXiv:1512.03385) up to its last feature map, with torchvision's parameter names.

    Args:
        depth: number of layers.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[18, 34, 50] = 18

    modality: ClassVar[str] = "image"

    def build(self, context: BuildContext) -> "ResNetEncoder":
        return ResNetEncoder(self)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, base: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, base, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.conv2 = nn.Conv2d(base, base, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(base)
        self.downsample = _shortcut(channels, base, stride)

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        values = self.bn2(self.conv2(self.bn1(self.conv1(input)).relu()))
        return (values + self.downsample(input)).relu()


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up beside a shortcut; the stride is in the 3x3, as in torchvision."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, base: int, stride: int) -> None:
        super().__init__()
        out = self.expansion * base
        self.conv1 = nn.Conv2d(channels, base, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.conv2 = nn.Conv2d(base, base, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(base)
        self.conv3 = nn.Conv2d(base, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = _shortcut(channels, out, stride)

    def forward(self, input: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n out rows columns"]:
        values = self.bn2(self.conv2(self.bn1(self.conv1(input)).relu())).relu()
        return (self.bn3(self.conv3(values)) + self.downsample(input)).relu()


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class ResNetEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one feature vector a cell of 32 x 32 pixels."""

    def __init__(self, config: ResNetEncoderConfig) -> None:
        super().__init__()
        self.config = config
        block = Bottleneck if config.depth == 50 else BasicBlock
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, blocks in enumerate(STAGES[config.depth]):
            base = 64 * 2**stage
            layer: list[nn.Module] = []
            for place in range(blocks):
                layer.append(block(channels, base, 2 if stage and not place else 1))
                channels = block.expansion * base
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.width = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Padded) -> Features:
        pixels = inputs.values.contiguous(memory_format=torch.channels_last)
        values = self.maxpool(self.bn1(self.conv1(pixels)).relu())
        for stage in range(4):
            values = self.get_submodule(f"layer{stage + 1}")(values)
        return grid_features(values, inputs.mask)
