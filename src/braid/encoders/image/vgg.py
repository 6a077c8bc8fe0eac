"""VGG: plain 3x3 convolutions, the image encoder of the first captioners."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.errors import UserError
from braid.layers.attention import grid_features
from braid.layers.context import BuildContext
from braid.modalities import ImageModality
from braid.records import Features, Padded

# channels of the convolutions of the five stages (arXiv:1409.1556, table 1, columns A and D); a max pooling ends each
STAGES = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
CELL = 32  # pixels a side, of one cell of the last feature map


@dataclass(frozen=True)
class VGGEncoderConfig:
    """VGG-11 or VGG-16 (arXiv:1409.1556) up to its last feature map, with torchvision's parameter names.

    Args:
        depth: number of layers.
        batch_norm: whether every convolution is followed by one, as in torchvision's vgg11_bn and vgg16_bn; the paper has none.
    """

    kind: Literal["vgg"] = "vgg"
    depth: Literal[11, 16] = 16
    batch_norm: bool = False

    modality: ClassVar[str] = "image"

    def build(self, context: BuildContext) -> "VGGEncoder":
        return VGGEncoder(self, context.input)


class VGGEncoder(nn.Module):
    """Pixels [n, 3, size, size] -> one feature vector a cell of 32 x 32 pixels."""

    def __init__(self, config: VGGEncoderConfig, modality: ImageModality) -> None:
        super().__init__()
        if modality.size < CELL:
            raise UserError(f"images of {modality.size} pixels vanish in five halvings; vgg needs at least {CELL}")
        self.config = config
        layers: list[nn.Module] = []
        channels = 3
        for stage in STAGES[config.depth]:
            for out in stage:
                norm = [nn.BatchNorm2d(out)] if config.batch_norm else []
                layers += [nn.Conv2d(channels, out, 3, padding=1), *norm, nn.ReLU(inplace=True)]
                channels = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.width = channels
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, inputs: Padded) -> Features:
        pixels = inputs.values.contiguous(memory_format=torch.channels_last)
        return grid_features(self.features(pixels), inputs.mask)
