"""MobileNetV2: the image encoder for small machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from braid.config import within
from braid.layers.context import BuildContext
from braid.layers.convolution import InvertedResidualEncoder, Padding, Stage, Style, check_scales, rounded
from braid.layers.levels import LevelsConfig
from braid.modalities import ImageModality

# expansion, channels, blocks, stride of the first block (arXiv:1801.04381, table 2)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass(frozen=True)
class MobileNetEncoderConfig:
    """MobileNetV2 (arXiv:1801.04381) up to its last feature map, with torchvision's parameter names.

    Args:
        width_multiplier: factor on the number of channels.
        padding: ``torch`` pads both sides alike, ``tensorflow`` (SAME) the right and bottom first.
        folded: whether batch norm is part of the convolutions' weights and biases.
        scales: the image is read once at each scale, relative to its size; the grids of all scales are concatenated.
        levels: give several depths of the network and the colours of the image; null gives the last feature map alone.
    """

    kind: Literal["mobilenet"] = "mobilenet"
    width_multiplier: float = 1.0
    padding: Padding = "torch"
    folded: bool = False
    scales: tuple[float, ...] = (1.0,)
    levels: LevelsConfig | None = None

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        within(self, 0.01, 100, "width_multiplier")
        check_scales(self.scales, self.levels)

    def build(self, context: BuildContext) -> "MobileNetEncoder":
        return MobileNetEncoder(self, context.input)


class MobileNetEncoder(InvertedResidualEncoder):
    """Pixels [n, 3, size, size] -> one feature vector a cell of 32 x 32 pixels, at each scale."""

    def __init__(self, config: MobileNetEncoderConfig, image: ImageModality) -> None:
        multiplier = config.width_multiplier
        stages = [Stage(expansion, rounded(base * multiplier), *rest) for expansion, base, *rest in STAGES]
        head = rounded(1280 * max(1.0, multiplier))
        style = Style(config.padding, config.folded)
        super().__init__(rounded(32 * multiplier), stages, head, style, config.scales, config.levels, image)

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
