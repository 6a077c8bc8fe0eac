"""Number decoder: one quantity a row."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.layers.attention import weighted_mean
from braid.layers.context import BuildContext
from braid.records import Fused, Padded
from braid.shapes import Float


@dataclass(frozen=True)
class NumberDecoderConfig:
    """A linear head for one number, trained with the Huber loss, which limits the effect of outliers.

    Args:
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["number"] = "number"
    dropout: float = 0.1

    modality: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "NumberDecoder":
        return NumberDecoder(self, context.memory_width)


class NumberDecoder(nn.Module):
    """Distance from the mean, in standard deviations."""

    def __init__(self, config: NumberDecoderConfig, memory_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(memory_width), nn.Dropout(config.dropout), nn.Linear(memory_width, 1))

    def forward(self, fused: Fused) -> Float[Tensor, "batch 1"]:
        return self.layers(fused.pooled)

    def loss(
        self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Mean Huber loss, each row's times its weight; there is nothing to smooth."""
        losses = F.huber_loss(self(fused).squeeze(1).float(), target.values, reduction="none")
        return weighted_mean(losses, target.mask, weights)
