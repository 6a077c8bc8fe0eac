"""Transformer text encoder, BERT style (bidirectional) or GPT style (causal)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import BorrowedTokenEmbedding, EncoderBlock, TokenEmbedding, token_extent
from braid.modalities import TextModality
from braid.records import Features, Padded


@dataclass(frozen=True)
class TransformerTextEncoderConfig:
    """Pre-norm blocks; ``bidirectional`` reads the whole text everywhere (arXiv:1810.04805), ``causal`` what came before.

    ``words_of`` names a text decoder of the model whose token vectors this encoder reads too, so that they are stored and learned
    once; with its own, a small encoder is mostly vocabulary.
    """

    kind: Literal["transformer"] = "transformer"
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    width: int = 256
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    words_of: str = ""

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, modality: TextModality) -> "TransformerTextEncoder":
        return TransformerTextEncoder(self, modality)


class TransformerTextEncoder(nn.Module):
    """Tokens [n, length] -> one vector a token."""

    def __init__(self, config: TransformerTextEncoderConfig, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.max_length = modality.max_length
        self.embedding: TokenEmbedding | BorrowedTokenEmbedding | None = None
        if not config.words_of:
            self.embedding = TokenEmbedding(modality.vocab_size, modality.max_length, config.width, config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def read_words_of(self, decoder: nn.Module) -> None:
        """Take the token vectors of the decoder that ``words_of`` names.

        Raises:
            UserError: when it has none.
        """
        embedding = getattr(decoder, "embedding", None)
        tokens = getattr(embedding, "tokens", embedding)
        if not isinstance(tokens, nn.Embedding):
            raise UserError(f"words_of is {self.config.words_of!r}, a decoder without token vectors of its own; leave it out")
        self.embedding = BorrowedTokenEmbedding(tokens, self.max_length, self.width, self.config.dropout)

    def forward(self, inputs: Padded) -> Features:
        assert self.embedding is not None  # the model saw to it
        tokens, mask = inputs.values, inputs.mask
        readable = mask.unsqueeze(1)
        if self.config.attention == "causal":
            length = tokens.shape[1]
            readable = readable & torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        values = self.embedding(tokens)
        for block in self.blocks:
            values = block(values, readable)
        return Features(self.norm(values), mask, token_extent(tokens))
