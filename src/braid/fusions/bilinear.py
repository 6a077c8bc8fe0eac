"""Low-rank bilinear pooling: the inputs are multiplied, dimension by dimension."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.layers.attention import masked_mean
from braid.layers.context import BuildContext
from braid.records import Features, Fused
from braid.shapes import Float


@dataclass(frozen=True)
class BilinearFusionConfig:
    """The inputs' vectors are multiplied: h = P prod_i tanh(U_i e_i).

    Args:
        factor: products that are summed into each dimension. 1 is MLB (arXiv:1610.04325); above it is MFB (arXiv:1708.01471),
            with signed square roots that are scaled to one length.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["bilinear"] = "bilinear"
    factor: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "factor")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "BilinearFusion":
        return BilinearFusion(self, context.encoders, context.width)


class BilinearFusion(nn.Module):
    """One position: the product over the inputs a row has; a missing one counts as ones, which leave the others as they are."""

    def __init__(self, config: BilinearFusionConfig, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.width = width
        self.factor = config.factor
        self.factors = nn.ModuleDict({name: nn.Linear(width, config.factor * width) for name in self.inputs})
        for factor in self.factors.values():
            nn.init.ones_(factor.bias)  # type: ignore[arg-type]  # (1 + a)(1 + b): no input's gradient hangs on another's size
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        present = torch.stack([features[name].mask.any(1) for name in self.inputs], 1)
        product = torch.ones_like(features[self.inputs[0]].values[:, 0, :1])
        for place, name in enumerate(self.inputs):
            factor = self.factors[name](masked_mean(features[name].values, features[name].mask))
            factor = factor.tanh() if self.factor == 1 else factor
            product = product * torch.where(present[:, place : place + 1], factor, 1.0)
        product = self.dropout(product)
        joined = self.output(product if self.factor == 1 else self._pooled(product))
        joined = joined * present.any(1, keepdim=True).to(joined.dtype)
        return Fused(joined.unsqueeze(1), present.any(1, keepdim=True), joined)

    def _pooled(self, product: Float[Tensor, "batch wide"]) -> Float[Tensor, "batch width"]:
        """Sums of ``factor`` products each, their signed square roots, scaled to a mean square of 1."""
        sums = product.unflatten(1, (self.width, self.factor)).sum(-1)
        tiny = 1e-4  # keeps the slope of the root finite at zero
        roots = sums.sign() * ((sums.abs() + tiny).sqrt() - tiny**0.5)
        return self.width**0.5 * nn.functional.normalize(roots, dim=-1)
