"""Class decoder: one score a label."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.layers.attention import AttentionPooling, weighted_mean
from braid.layers.context import BuildContext
from braid.modalities import LabelsModality
from braid.records import Fused, Padded
from braid.shapes import Float

LOWEST = -1e4  # of a position that is not real


@dataclass(frozen=True)
class ClassesDecoderConfig:
    """A linear head over the labels, after an optional hidden layer.

    Args:
        reads: ``pooled`` is the fusion's own vector of a row; ``attention`` a mean of its positions by a learned query; ``max``
            the maximum of each feature over the positions, which finds small things in an image (Oquab et al., CVPR 2015);
            ``positions`` scores every position and averages the scores by the inputs' weights, or evenly where there are none.
        input: the decoder reads the mean of what this input's encoder gives, before projection and fusion, instead of all that
            was fused; so the head of a pretrained encoder may go on from the same features. "" reads what was fused.
        hidden_width: of a layer before the head; 0 has none.
        linear: the hidden layer has no activation, so that it and the head are one matrix of a low rank.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["classes"] = "classes"
    reads: Literal["pooled", "attention", "positions", "max"] = "pooled"
    input: str = ""
    hidden_width: int = 0
    linear: bool = False
    dropout: float = 0.1

    modality: ClassVar[str] = "labels"

    def __post_init__(self) -> None:
        within(self, 0, 1_000_000, "hidden_width")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "ClassesDecoder":
        if self.input and self.input not in context.native_widths:
            raise UserError(f"input is {self.input!r}; {did_you_mean(self.input, list(context.native_widths))}")
        width = context.native_widths[self.input] if self.input else context.memory_width
        return ClassesDecoder(self, width, context.output)


class ClassesDecoder(nn.Module):
    """Softmax over labels that exclude each other, or a sigmoid each where a row may have several."""

    def __init__(self, config: ClassesDecoderConfig, width: int, modality: LabelsModality) -> None:
        super().__init__()
        self.config = config
        self.width = width
        self.pooling = AttentionPooling(width) if config.reads == "attention" and not config.input else None
        self.multiple = modality.config.multiple
        activation = [] if config.linear else [nn.GELU()]
        hidden = [nn.Linear(width, config.hidden_width), *activation, nn.Dropout(config.dropout)] if config.hidden_width else []
        last = nn.Linear(config.hidden_width or width, len(modality.labels))
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Dropout(config.dropout), *hidden, last)

    def forward(self, fused: Fused) -> Float[Tensor, "batch labels"]:
        """Logits."""
        if self.config.input:
            native = fused.native.get(self.config.input)  # a batch without the input has none
            return self.layers(fused.pooled.new_zeros(len(fused.pooled), self.width) if native is None else native)
        if self.config.reads == "pooled":
            return self.layers(fused.pooled)
        if self.pooling is not None:
            return self.layers(self.pooling(fused.values, fused.mask))
        if self.config.reads == "max":
            return self.layers(fused.values.masked_fill(~fused.mask.unsqueeze(-1), LOWEST).amax(1))
        weights = torch.stack(list(fused.weights.values()), 1) if fused.weights else fused.mask.to(fused.values.dtype)
        share = weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
        return (share.unsqueeze(-1) * self.layers(fused.values)).sum(1)

    def loss(
        self, fused: Fused, target: Padded, label_smoothing: float = 0.0, weights: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy over the rows that have a label, each times its weight."""
        logits = self(fused).float()
        if self.multiple:
            soft = target.values * (1 - label_smoothing) + 0.5 * label_smoothing
            losses = F.binary_cross_entropy_with_logits(logits, soft, reduction="none").mean(1)
        else:
            losses = F.cross_entropy(logits, target.values, reduction="none", label_smoothing=label_smoothing)
        return weighted_mean(losses, target.mask, weights)
