"""A transformer over a text, bidirectional as BERT or causal as GPT."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import EncoderBlock, SharedTokenEmbedding, TokenEmbedding, token_extent
from braid.layers.context import BuildContext
from braid.modalities import TextModality
from braid.records import Features, Padded


@dataclass(frozen=True)
class TransformerTextEncoderConfig:
    """A transformer over the tokens of a text, with pre-norm blocks.

    Args:
        attention: ``bidirectional`` reads the whole text at every token (arXiv:1810.04805), ``causal`` only what came before.
        width: of a token's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
        share_embedding_with: a text decoder of the model; its token embedding is then used here too, and stored once.
    """

    kind: Literal["transformer"] = "transformer"
    attention: Literal["bidirectional", "causal"] = "bidirectional"
    width: int = 256
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    share_embedding_with: str = ""

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "TransformerTextEncoder":
        encoder = TransformerTextEncoder(self, context.input)
        if name := self.share_embedding_with:

            def share(decoder: nn.Module) -> None:
                encoder.share_embedding(decoder)
                reading, writing = context.input.config.tokenizer, context.outputs[name].config.tokenizer
                if reading != writing:
                    message = f"share_embedding_with is {name!r}, which writes with {writing!r} and not {reading!r}"
                    raise UserError(f"{message}; give both one tokenizer")

            context.with_decoder(name, "share_embedding_with", share)
        return encoder


class TransformerTextEncoder(nn.Module):
    """Tokens [n, length] -> one vector a token."""

    def __init__(self, config: TransformerTextEncoderConfig, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.max_length = modality.max_length
        self.embedding: TokenEmbedding | SharedTokenEmbedding | None = None
        if not config.share_embedding_with:
            self.embedding = TokenEmbedding(modality.vocab_size, modality.max_length, config.width, config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def share_embedding(self, decoder: nn.Module) -> None:
        """Use the token embedding of a decoder.

        Raises:
            UserError: when it has none.
        """
        embedding = getattr(decoder, "embedding", None)
        tokens = getattr(embedding, "tokens", embedding)
        if not isinstance(tokens, nn.Embedding):
            name = self.config.share_embedding_with
            raise UserError(f"share_embedding_with is {name!r}, a decoder without a token embedding of its own; leave it out")
        self.embedding = SharedTokenEmbedding(tokens, self.max_length, self.width, self.config.dropout)

    def forward(self, inputs: Padded) -> Features:
        assert self.embedding is not None  # shared by now
        tokens, mask = inputs.values, inputs.mask
        readable = mask.unsqueeze(1)
        if self.config.attention == "causal":
            length = tokens.shape[1]
            readable = readable & torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        values = self.embedding(tokens)
        for block in self.blocks:
            values = block(values, readable)
        return Features(self.norm(values), mask, token_extent(tokens))
