"""EfficientNet-Lite: more accurate than MobileNetV2 for its size, and as plain for a CPU (no squeeze-and-excitation)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from braid.layers.context import BuildContext
from braid.layers.convolution import InvertedResidualEncoder, Padding, Stage, Style, check_scales, fold, rounded
from braid.layers.levels import LevelsConfig
from braid.modalities import ImageModality

# expansion, channels, blocks, stride of the first block, kernel (arXiv:1905.11946, table 1)
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# width and depth multipliers of the TensorFlow authors' Lite variants
VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)}


@dataclass(frozen=True)
class EfficientNetEncoderConfig:
    """EfficientNet-Lite (arXiv:1905.11946 without squeeze-and-excitation, with ReLU6) up to its last feature map.

    Args:
        variant: lite0 is the smallest and fastest, lite4 the most accurate.
        padding: ``tensorflow`` (SAME), which the published weights need, or ``torch``.
        folded: whether batch norm is part of the convolutions' weights and biases; a file that keeps it apart is folded.
        scales: the image is read once at each scale, relative to its size; the grids of all scales are concatenated.
        levels: give several depths of the network and the colours of the image; null gives the last feature map alone.
    """

    kind: Literal["efficientnet"] = "efficientnet"
    variant: Literal["lite0", "lite1", "lite2", "lite3", "lite4"] = "lite0"
    padding: Padding = "tensorflow"
    folded: bool = False
    scales: tuple[float, ...] = (1.0,)
    levels: LevelsConfig | None = None

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        check_scales(self.scales, self.levels)

    def build(self, context: BuildContext) -> "EfficientNetEncoder":
        return EfficientNetEncoder(self, context.input)


class EfficientNetEncoder(InvertedResidualEncoder):
    """Pixels [n, 3, size, size] -> one feature vector a cell of 32 x 32 pixels, at each scale."""

    def __init__(self, config: EfficientNetEncoderConfig, image: ImageModality) -> None:
        style = Style(config.padding, config.folded, epsilon=1e-3)
        super().__init__(32, _stages(*VARIANTS[config.variant]), 1280, style, config.scales, config.levels, image)

    def standard_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names for those of the published torch files (_conv_stem, _blocks.N._expand_conv), folded if need be."""
        last = len(self.features) - 1
        renamed = {_standard_name(name, last): value for name, value in state.items() if not name.startswith("_fc.")}
        return fold(renamed, self.style.epsilon) if self.style.folded else renamed


def _stages(width: float, depth: float) -> list[Stage]:
    """All stages widened, and all but the first and the last deepened."""
    return [
        Stage(expansion, rounded(base * width), blocks if index in (0, 6) else math.ceil(blocks * depth), stride, kernel)
        for index, (expansion, base, blocks, stride, kernel) in enumerate(STAGES)
    ]


def _standard_name(name: str, last: int) -> str:
    part, _, field = name.partition(".")
    outside = {"_conv_stem": "0.0", "_bn0": "0.1", "_conv_head": f"{last}.0", "_bn1": f"{last}.1"}
    if part in outside:
        return f"features.{outside[part]}.{field}"
    if part != "_blocks":
        return name
    number, part, field = field.split(".")
    first = 0 if number == "0" else 1  # the first block does not widen
    places = {
        "_expand_conv": "0.0",
        "_bn0": "0.1",
        "_depthwise_conv": f"{first}.0",
        "_bn1": f"{first}.1",
        "_project_conv": str(first + 1),
        "_bn2": str(first + 2),
    }
    return f"features.{int(number) + 1}.conv.{places[part]}.{field}"
