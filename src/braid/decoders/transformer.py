"""Transformer text decoder: causal self-attention over the words, cross-attention to what was fused."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from braid.config import within
from braid.layers.attention import StepwiseTransformer, TokenEmbedding, sequence_loss
from braid.modalities import TextModality
from braid.records import Fused, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class TransformerTextDecoderConfig:
    """A decoder after arXiv:1706.03762, pre-norm, with input and output embeddings tied.

    ``word_dropout``: in training, the chance that a word is hidden from those after it (arXiv:1511.06349), so that each is told
    by what was fused more than by the words before: else a colour says which shapes may follow, and pairs never seen do not.
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

    def build(self, memory_width: int, modality: TextModality) -> "TransformerTextDecoder":
        return TransformerTextDecoder(self, memory_width, modality)


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
        # what is weighed was sampled with every word shown
        vectors = self.embedding(target.values, dropped=self._dropped(target) if weights is None else None)
        hidden = self.read(vectors, self.remember(fused))
        return sequence_loss(hidden, self.embedding.logits, target, label_smoothing, weights)  # type: ignore[arg-type]

    def _dropped(self, target: Padded) -> Bool[Tensor, "batch group length"] | None:
        """Which words those after them are not told from; what begins a text is always shown."""
        if not (self.training and self.config.word_dropout):
            return None
        dropped: Tensor = torch.rand(target.values.shape, device=target.values.device) < self.config.word_dropout
        dropped[..., 0] = False
        return dropped
