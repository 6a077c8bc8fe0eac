"""A bag of words and n-grams: for short texts and few rows, where a transformer has too little to learn from."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.layers.context import BuildContext
from braid.modalities import TextModality
from braid.records import Features, Padded
from braid.shapes import Bool, Float, Int

PRIME = 1_000_003  # mixes the tokens of an n-gram to its bucket


@dataclass(frozen=True)
class NgramTextEncoderConfig:
    """One vector per text: the sum of the vectors of its n-grams over the square root of their number (arXiv:1607.01759).

    Args:
        longest: tokens in the longest n-gram; 2 counts single tokens and pairs.
        width: of the vector.
        buckets: n-grams of two and more tokens share so many vectors.
        dropout: probability that an n-gram is left out in training.
    """

    kind: Literal["ngrams"] = "ngrams"
    longest: int = 2
    width: int = 256
    buckets: int = 20_000
    dropout: float = 0.3

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, 5, "longest")
        within(self, 1, math.inf, "width", "buckets")
        within(self, 0, 0.99, "dropout")

    def build(self, context: BuildContext) -> "NgramTextEncoder":
        return NgramTextEncoder(self, context.input)


class NgramTextEncoder(nn.Module):
    """Tokens [n, length] -> one vector a text."""

    def __init__(self, config: NgramTextEncoderConfig, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.token_embedding = nn.Embedding(modality.vocab_size, config.width)
        self.ngram_embedding = nn.Embedding(config.buckets, config.width) if config.longest > 1 else None
        for embedding in (self.token_embedding, self.ngram_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=config.width**-0.5)

    def forward(self, inputs: Padded) -> Features:
        tokens, mask = inputs.values, inputs.mask
        total, number = self._summed(self.token_embedding, tokens, mask)
        for length in range(2, min(self.config.longest, tokens.shape[1]) + 1):
            assert self.ngram_embedding is not None  # ``longest`` is above 1
            starts = tokens.shape[1] - length + 1
            bucket = torch.zeros_like(tokens[:, :starts])
            for place in range(length):
                bucket = (bucket * PRIME + tokens[:, place : place + starts] + length) % self.config.buckets
            more, count = self._summed(self.ngram_embedding, bucket, mask[:, length - 1 :])
            total, number = total + more, number + count
        values = total / number.clamp(min=1).sqrt()
        return Features(values.unsqueeze(1), mask.any(1, keepdim=True), self._extent(tokens))

    def _summed(
        self, embedding: nn.Embedding, places: Int[Tensor, "n length"], mask: Bool[Tensor, "n length"]
    ) -> tuple[Float[Tensor, "n width"], Float[Tensor, "n 1"]]:
        """The sum of the vectors that are kept, and their number."""
        weight = mask.to(embedding.weight.dtype)
        if self.training and self.config.dropout:
            kept = torch.rand_like(weight) >= self.config.dropout
            weight = weight * kept / (1 - self.config.dropout)
        return torch.einsum("nl,nlw->nw", weight, embedding(places)), mask.to(weight.dtype).sum(1, keepdim=True)

    def _extent(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "1 2"]:
        """One position for all tokens."""
        return torch.tensor([[0.0, tokens.shape[1] - 1.0]], device=tokens.device)
