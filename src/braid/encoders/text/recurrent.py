"""A GRU or LSTM over a text, left to right."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from braid.config import within
from braid.layers.attention import token_extent
from braid.layers.context import BuildContext
from braid.modalities import TextModality
from braid.records import Features, Padded


@dataclass(frozen=True)
class RecurrentTextEncoderConfig:
    """One recurrent layer over the tokens of a text.

    Args:
        cell: ``gru`` (arXiv:1406.1078) or ``lstm``.
        width: of the embedding and of the state.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    width: int = 256
    dropout: float = 0.1

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "RecurrentTextEncoder":
        return RecurrentTextEncoder(self, context.input)


class RecurrentTextEncoder(nn.Module):
    """Tokens [n, length] -> the state after each token. Padding comes last, so no real token reads it."""

    def __init__(self, config: RecurrentTextEncoderConfig, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.embedding = nn.Embedding(modality.vocab_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layer = (nn.GRU if config.cell == "gru" else nn.LSTM)(config.width, config.width, batch_first=True)

    def forward(self, inputs: Padded) -> Features:
        values, _ = self.layer(self.dropout(self.embedding(inputs.values)))
        return Features(self.dropout(values), inputs.mask, token_extent(inputs.values))
