"""Transformer text decoder: causal self-attention over the words, cross-attention to what was fused."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from braid.config import within
from braid.layers import DecoderBlock, TokenEmbedding, reorder_cache, sequence_loss
from braid.modalities import TextModality
from braid.records import Fused, Padded


@dataclass(frozen=True)
class TransformerTextDecoderConfig:
    """A decoder after arXiv:1706.03762, pre-norm, with input and output embeddings tied."""

    kind: Literal["transformer"] = "transformer"
    width: int = 256
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "width", "depth", "heads")
        within(self, 0, 1, "dropout")

    def build(self, memory_width: int, modality: TextModality) -> "TransformerTextDecoder":
        return TransformerTextDecoder(self, memory_width, modality)


class TransformerTextDecoder(nn.Module):
    """Reads ``Fused`` by cross-attention. A row without any memory is decoded as plain language modelling."""

    reads: Literal["cross"] = "cross"

    def __init__(self, config: TransformerTextDecoderConfig, memory_width: int, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.embedding = TokenEmbedding(modality.vocab_size, modality.max_length, config.width, config.dropout)
        self.memory = nn.Sequential(nn.Linear(memory_width, config.width), nn.LayerNorm(config.width))
        self.blocks = nn.ModuleList(DecoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def loss(
        self,
        fused: Fused,
        target: Padded,
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "batch group"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of ``target`` [batch, group, length], each text's part times its weight."""
        return sequence_loss(self._decode(fused, target.values), self.embedding.logits, target, label_smoothing, weights)

    def logits(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length vocab"]:
        """Teacher-forced: position ``t`` predicts token ``t + 1``."""
        return self.embedding.logits(self._decode(fused, tokens))

    def start(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the memory, once a row, and an empty cache of one beam."""
        keys, values = self._memory(fused)
        batch, depth, heads, _, head_width = keys.shape
        empty = keys.new_zeros(batch, 1, depth, heads, 0, head_width)
        return {
            "memory.keys": keys,
            "memory.values": values,
            "memory.mask": fused.mask,
            "cache.keys": empty,
            "cache.values": empty.clone(),
        }

    def step(
        self, tokens: Int[Tensor, "batch group"], state: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "batch group vocab"], dict[str, Tensor]]:
        """Read one more token a beam; the cache's group must equal that of ``tokens``."""
        batch, group = tokens.shape
        past_keys, past_values = state["cache.keys"].flatten(0, 1), state["cache.values"].flatten(0, 1)
        values = self.embedding(tokens.unsqueeze(-1), first=past_keys.shape[3])
        keys_now, values_now = [], []
        for layer, block in enumerate(self.blocks):
            memory = state["memory.keys"][:, layer], state["memory.values"][:, layer], state["memory.mask"]
            values, (keys, own) = block(values, *memory, past=(past_keys[:, layer], past_values[:, layer]))
            keys_now.append(keys)
            values_now.append(own)
        new = {
            "cache.keys": torch.stack(keys_now, 1).unflatten(0, (batch, group)),
            "cache.values": torch.stack(values_now, 1).unflatten(0, (batch, group)),
        }
        return self.embedding.logits(self.norm(values)).squeeze(2), {**state, **new}

    def reorder(self, state: dict[str, Tensor], parents: Int[Tensor, "batch group"]) -> dict[str, Tensor]:
        return reorder_cache(state, parents)

    def _memory(
        self, fused: Fused
    ) -> tuple[Float[Tensor, "batch depth heads memory head_width"], Float[Tensor, "batch depth heads memory head_width"]]:
        memory = self.memory(fused.values)
        pairs = [cast(DecoderBlock, block).cross_attention.keys_values(memory) for block in self.blocks]
        return torch.stack([keys for keys, _ in pairs], 1), torch.stack([values for _, values in pairs], 1)

    def _decode(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length width"]:
        keys, values = self._memory(fused)
        hidden = self.embedding(tokens)
        for layer, block in enumerate(self.blocks):
            hidden, _ = block(hidden, keys[:, layer], values[:, layer], fused.mask)
        return self.norm(hidden)
