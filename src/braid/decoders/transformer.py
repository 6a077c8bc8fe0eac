"""Transformer text decoder: causal self-attention over the text, cross-attention to the fused inputs."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from braid.config import within
from braid.layers.attention import StepwiseTransformer, TokenEmbedding, token_loss
from braid.layers.context import BuildContext
from braid.modalities import TextModality
from braid.records import Fused, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class TransformerTextDecoderConfig:
    """The decoder of arXiv:1706.03762, pre-norm, with tied input and output embeddings.

    Args:
        width: of a token's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
        word_dropout: probability that a training token is hidden from those after it (arXiv:1511.06349), so that the text
            follows the inputs more than its own words.
    """

    kind: Literal["transformer"] = "transformer"
    width: int = 256
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    word_dropout: float = 0.0

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout", "word_dropout")

    def build(self, context: BuildContext) -> "TransformerTextDecoder":
        return TransformerTextDecoder(self, context.memory_width, context.output)


class TransformerTextDecoder(StepwiseTransformer):
    """Reads ``Fused`` by cross-attention. A row without any memory is decoded as plain language modelling."""

    def __init__(self, config: TransformerTextDecoderConfig, memory_width: int, modality: TextModality) -> None:
        embedding = TokenEmbedding(modality.vocab_size, modality.max_length, config.width, config.dropout)
        super().__init__(embedding, memory_width, config.width, config.depth, config.heads, config.dropout)
        self.config = config

    def loss(
        self,
        fused: Fused,
        target: Padded,
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "batch group"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of ``target`` [batch, group, length], each text's part times its weight."""
        # weighted texts were sampled with every token shown
        vectors = self.embedding(target.values, dropped=self._dropped(target) if weights is None else None)
        hidden = self.read_real(vectors[..., :-1, :], target.mask[..., 1:], self.remember(fused))
        return token_loss(self.embedding.logits(hidden), target, label_smoothing, weights)  # type: ignore[operator]

    def _dropped(self, target: Padded) -> Bool[Tensor, "batch group length"] | None:
        """The tokens that are hidden from those after them; never the one that begins a text."""
        if not (self.training and self.config.word_dropout):
            return None
        dropped: Tensor = torch.rand(target.values.shape, device=target.values.device) < self.config.word_dropout
        dropped[..., 0] = False
        return dropped
