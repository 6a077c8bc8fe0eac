"""Recurrent text decoder: a GRU or LSTM that starts from the fused inputs, with or without attention to them."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.layers.attention import reorder_cache, sequence_loss
from braid.layers.context import BuildContext
from braid.modalities import TextModality
from braid.records import Fused, Padded
from braid.shapes import Float, Int

State = dict[str, Tensor]


@dataclass(frozen=True)
class RecurrentTextDecoderConfig:
    """A GRU or LSTM over the text, one layer.

    Args:
        cell: ``gru`` (arXiv:1406.1078) or ``lstm``.
        width: of the embedding and of the state.
        dropout: probability that a value is dropped in training.
        reads: ``cross`` attends to the fused inputs at every word (arXiv:1409.0473, arXiv:1502.03044); ``initial`` gets them as
            the first state alone.
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    width: int = 256
    dropout: float = 0.1
    reads: Literal["cross", "initial"] = "cross"

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "RecurrentTextDecoder":
        return RecurrentTextDecoder(self, context.memory_width, context.output)


class AdditiveAttention(nn.Module):
    """score = v . tanh(W q + U k). A row without any real key reads zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, hidden: Float[Tensor, "batch group width"], state: State) -> Float[Tensor, "batch group width"]:
        return self.weights(hidden, state) @ state["memory.values"]

    def weights(self, hidden: Float[Tensor, "batch group width"], state: State) -> Float[Tensor, "batch group memory"]:
        mask = state["memory.mask"].unsqueeze(1)
        scores = self.score(torch.tanh(state["memory.keys"].unsqueeze(1) + self.query(hidden).unsqueeze(2))).squeeze(-1)
        return scores.masked_fill(~mask, -1e4).softmax(-1) * mask.to(scores.dtype)


class RecurrentTextDecoder(nn.Module):
    """One recurrent layer; input and output embeddings are tied (arXiv:1608.05859)."""

    def __init__(self, config: RecurrentTextDecoderConfig, memory_width: int, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.reads = config.reads
        width, looks = config.width, config.reads == "cross"
        self.embedding = nn.Embedding(modality.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        parts = ("hidden",) if config.cell == "gru" else ("hidden", "cell")
        self.initial = nn.ModuleDict({part: nn.Linear(memory_width, width) for part in parts})
        self.cell = (nn.GRUCell if config.cell == "gru" else nn.LSTMCell)(2 * width if looks else width, width)
        if looks:
            self.keys = nn.Linear(memory_width, width, bias=False)
            self.values = nn.Linear(memory_width, width)
            self.attention = AdditiveAttention(width)
        self.output = nn.Linear(3 * width if looks else 2 * width, width)
        self.dropout = nn.Dropout(config.dropout)

    def loss(
        self,
        fused: Fused,
        target: Padded,
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "batch group"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of ``target`` [batch, group, length], each text's part times its weight."""
        return sequence_loss(self._decode(fused, target.values), self._head, target, label_smoothing, weights)

    def logits(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length vocab"]:
        """Teacher-forced: position ``t`` predicts token ``t + 1``."""
        return self._head(self._decode(fused, tokens))

    def start(self, fused: Fused) -> State:
        """The first hidden state, and for ``cross`` the keys and values of the memory, once a row."""
        state = {f"cache.{name}": torch.tanh(linear(fused.pooled)).unsqueeze(1) for name, linear in self.initial.items()}
        if self.reads == "cross":
            memory = {"keys": self.keys(fused.values), "values": self.values(fused.values), "mask": fused.mask}
            state |= {f"memory.{name}": value for name, value in memory.items()}
        return state

    def step(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group vocab"], State]:
        """Read one more token a beam; the cache's group must equal that of ``tokens``."""
        output, state = self._advance(self.dropout(self.embedding(tokens)), state)
        return self._head(output), state

    def reorder(self, state: State, parents: Int[Tensor, "batch group"]) -> State:
        return reorder_cache(state, parents)

    def _decode(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length width"]:
        words = self.dropout(self.embedding(tokens))
        state = self.reorder(self.start(fused), torch.zeros_like(tokens[:, :, 0]))
        outputs = []
        for position in range(tokens.shape[2]):
            output, state = self._advance(words[:, :, position], state)
            outputs.append(output)
        return torch.stack(outputs, 2)

    def _advance(
        self, word: Float[Tensor, "batch group width"], state: State
    ) -> tuple[Float[Tensor, "batch group width"], State]:
        """One word further: look at the memory, update the state, and mix word, context and state for the output."""
        hidden = state["cache.hidden"]
        read = [word, self.attention(hidden, state)] if self.reads == "cross" else [word]
        given = torch.cat(read, -1).flatten(0, 1)
        if self.config.cell == "gru":
            grown = {"cache.hidden": self.cell(given, hidden.flatten(0, 1))}
        else:
            both = self.cell(given, (hidden.flatten(0, 1), state["cache.cell"].flatten(0, 1)))
            grown = {"cache.hidden": both[0], "cache.cell": both[1]}
        new = {name: value.view_as(hidden) for name, value in grown.items()}
        mixed = torch.tanh(self.output(torch.cat([new["cache.hidden"], *read], -1)))
        return self.dropout(mixed), {**state, **new}

    def _head(self, values: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows vocab"]:
        return F.linear(values, self.embedding.weight)
