"""Layers of encoders, fusions and decoders: attention, transformer blocks with a cache, masked mean."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.errors import UserError
from braid.records import Features, Fused, Padded
from braid.shapes import Bool, Float, Int

Place = int | Int[Tensor, " 1"]  # index of the first position; in a CUDA graph a tensor, so that it may vary


def masked_mean(values: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]) -> Float[Tensor, "batch width"]:
    """Mean over the real positions; zero for a row without any."""
    real = mask.unsqueeze(-1).to(values.dtype)
    return (values * real).sum(1) / real.sum(1).clamp(min=1)


def grid_features(cells: Float[Tensor, "n channels rows columns"], mask: Bool[Tensor, "n height width"]) -> Features:
    """A feature map as a sequence, row by row. A cell is real if any of its pixels is; its extent is its box in 0..1."""
    rows, columns = cells.shape[2], cells.shape[3]
    real = F.adaptive_max_pool2d(mask.unsqueeze(1).float(), (rows, columns)).flatten(1) > 0
    return Features(cells.flatten(2).transpose(1, 2), real, grid_boxes(rows, columns, cells.device))


def end_to_end_grids(grids: Sequence[Features]) -> Features:
    """Concatenate several grids over the same images to one sequence."""
    extents = [grid.extent for grid in grids if grid.extent is not None]
    return Features(torch.cat([g.values for g in grids], 1), torch.cat([g.mask for g in grids], 1), torch.cat(extents))


def grid_boxes(rows: int, columns: int, device: torch.device) -> Float[Tensor, "positions 4"]:
    """Left, top, right, bottom of every cell of a grid over the image, in 0..1, row by row."""
    top = torch.arange(rows, device=device).repeat_interleave(columns) / rows
    left = torch.arange(columns, device=device).repeat(rows) / columns
    return torch.stack([left, top, left + 1 / columns, top + 1 / rows], 1)


def token_extent(tokens: Int[Tensor, "n length"]) -> Float[Tensor, "length 2"]:
    """First and last token of every position of a text: the token itself."""
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    return torch.stack([positions, positions], 1).float()


def end_to_end(features: Mapping[str, Features], inputs: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Start and end of each input in the concatenated sequence."""
    spans: dict[str, tuple[int, int]] = {}
    first = 0
    for name in inputs:
        length = features[name].values.shape[1]
        spans[name] = (first, first + length)
        first += length
    return spans


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (arXiv:1706.03762).

    Keys and values come from ``keys_values``, so that a caller can compute them once and cache them. The result for a row
    without any real key is zero, never NaN.
    """

    def __init__(self, width: int, heads: int, memory_width: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"width {width} is not divisible by heads {heads}; choose a multiple of {heads}")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width or width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_values(
        self, memory: Float[Tensor, "batch keys memory_width"]
    ) -> tuple[Float[Tensor, "batch heads keys head_width"], Float[Tensor, "batch heads keys head_width"]]:
        keys, values = self.key_value(memory).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def forward(
        self,
        queries: Float[Tensor, "batch queries width"],
        keys: Float[Tensor, "batch heads keys head_width"],
        values: Float[Tensor, "batch heads keys head_width"],
        mask: Bool[Tensor, "#batch #queries keys"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "batch queries width"]:
        """``mask`` is True where a query may read a key; ``causal`` (without a mask) hides later keys."""
        read = self.output(self.attend(self.query(queries), (keys, values), mask, causal))
        return read if mask is None else read * mask.any(-1, keepdim=True).to(read.dtype)

    def attend(
        self,
        queries: Float[Tensor, "batch queries width"],
        memory: tuple[Float[Tensor, "batch heads keys head_width"], Float[Tensor, "batch heads keys head_width"]],
        mask: Bool[Tensor, "#batch #queries keys"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "batch queries width"]:
        """``forward`` without projections: what ``queries`` read of the keys and values of ``memory``."""
        split, (keys, values), dropout = self.split(queries), memory, self.dropout if self.training else 0.0
        if mask is None:
            return self._join(F.scaled_dot_product_attention(split, keys, values, dropout_p=dropout, is_causal=causal))
        # A finite bias avoids NaN in a row without keys, which is set to zero later.
        bias = torch.where(mask, 0.0, -1e9).to(split.dtype).unsqueeze(1)
        return self._join(F.scaled_dot_product_attention(split, keys, values, attn_mask=bias, dropout_p=dropout))

    def split(self, values: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch heads length head_width"]:
        batch, length, width = values.shape
        return values.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _join(self, values: Float[Tensor, "batch heads length head_width"]) -> Float[Tensor, "batch length width"]:
        return values.transpose(1, 2).flatten(2)


class AttentionPooling(nn.Module):
    """One vector per row: the mean of its positions, weighted by one learned query (arXiv:1703.03130, one hop)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def forward(
        self, values: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch width"]:
        normed = self.norm(values)
        return (self.weights(normed, mask).unsqueeze(-1) * normed).sum(1)

    def weights(
        self, normed: Float[Tensor, "batch length width"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length"]:
        # A finite minimum keeps the softmax of a row without inputs finite.
        return self.score(normed).squeeze(-1).masked_fill(~mask, -1e4).softmax(-1)


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear: the position-wise half of a transformer block."""

    def __init__(self, width: int, dropout: float = 0.0, expansion: int = 4) -> None:
        super().__init__(nn.Linear(width, expansion * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(expansion * width, width))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block over one sequence (arXiv:1706.03762, arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        values: Float[Tensor, "batch length width"],
        mask: Bool[Tensor, "batch #length length"],  # noqa: F821 - a shape
    ) -> Float[Tensor, "batch length width"]:
        normed = self.attention_norm(values)
        values = values + self.dropout(self.attention(normed, *self.attention.keys_values(normed), mask))
        return values + self.dropout(self.feed_forward(self.feed_forward_norm(values)))


def begin_as_identity(block: EncoderBlock) -> EncoderBlock:
    """Initialize both residual branches of a block to zero, and return it (arXiv:2003.04887)."""
    for last in (block.attention.output, block.feed_forward[-1]):
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return block


class DecoderBlock(nn.Module):
    """Pre-norm transformer block: causal self-attention, then cross-attention to a memory shared by a row's group.

    Queries of one group are concatenated, so cross-attention reads a row's keys without copying them.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, dropout=dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        values: Float[Tensor, "batch group length width"] | Float[Tensor, "real width"],
        memory_keys: Float[Tensor, "batch heads memory head_width"],
        memory_values: Float[Tensor, "batch heads memory head_width"],
        memory_mask: Bool[Tensor, "batch memory"],
        past: tuple[Float[Tensor, "rows heads past head_width"], Float[Tensor, "rows heads past head_width"]] | None = None,
        causal: bool = True,
        at: Int[Tensor, " 1"] | None = None,
        real: Bool[Tensor, "batch group length"] | None = None,
    ) -> tuple[Float[Tensor, "batch group length width"] | Float[Tensor, "real width"], tuple[Tensor, ...]]:
        """With ``past``, the length is 1, and the returned keys and values include the new ones; rows = batch * group. If ``at``
        is also given, ``past`` has free positions: new keys and values are written at ``at`` in place, and later positions are
        not read. Without ``past``, a position does not read later ones, unless ``causal`` is False. With ``real``, the values
        are those of the real positions alone, and no keys are returned."""
        if real is not None:
            return self._of_real(values, real, memory_keys, memory_values, memory_mask), ()
        batch, group, length, width = values.shape
        flat = values.reshape(batch * group, length, width)
        normed = self.self_norm(flat)
        keys, own = self.self_attention.keys_values(normed)
        known = None
        if past is not None and at is not None:
            keys, own = past[0].index_copy_(2, at, keys), past[1].index_copy_(2, at, own)
            known = (torch.arange(keys.shape[2], device=keys.device) <= at).view(1, 1, -1)
        elif past is not None:
            keys, own = torch.cat([past[0], keys], 2), torch.cat([past[1], own], 2)
        flat = flat + self.dropout(self.self_attention(normed, keys, own, known, causal=causal and past is None))
        row = flat.view(batch, group * length, width)
        read = self.cross_attention(self.cross_norm(row), memory_keys, memory_values, memory_mask.unsqueeze(1))
        row = row + self.dropout(read)
        row = row + self.dropout(self.feed_forward(self.feed_forward_norm(row)))
        return row.view(batch, group, length, width), (keys, own)

    def _of_real(
        self,
        values: Float[Tensor, "real width"],
        real: Bool[Tensor, "batch group length"],
        memory_keys: Float[Tensor, "batch heads memory head_width"],
        memory_values: Float[Tensor, "batch heads memory head_width"],
        memory_mask: Bool[Tensor, "batch memory"],
    ) -> Float[Tensor, "real width"]:
        """``forward`` of the real positions alone, which come first in each text: only the attention sees padding."""
        batch, group, length = real.shape
        places = real.flatten().nonzero().squeeze(1)

        def padded(vectors: Float[Tensor, "real width"], rows: int) -> Float[Tensor, "rows positions width"]:
            empty = vectors.new_zeros(real.numel(), vectors.shape[-1])
            return empty.index_copy(0, places, vectors).view(rows, -1, vectors.shape[-1])

        own, other = self.self_attention, self.cross_attention
        normed, texts = self.self_norm(values), batch * group
        keys, vectors = (own.split(padded(one, texts)) for one in own.key_value(normed).chunk(2, dim=-1))
        read = own.attend(padded(own.query(normed), texts), (keys, vectors), causal=True)
        values = values + self.dropout(own.output(read.flatten(0, 1)[places]))
        queries = padded(other.query(self.cross_norm(values)), batch)
        read = other.attend(queries, (memory_keys, memory_values), memory_mask.unsqueeze(1))
        known = memory_mask.any(1).repeat_interleave(group * length)[places].unsqueeze(1)
        values = values + self.dropout(other.output(read.flatten(0, 1)[places]) * known.to(values.dtype))
        return values + self.dropout(self.feed_forward(self.feed_forward_norm(values)))


class CrossTransformer(nn.Module):
    """Blocks over a sequence that read ``Fused`` by cross-attention; a row without any memory is decoded without it."""

    reads: Literal["cross"] = "cross"

    def __init__(self, memory_width: int, width: int, depth: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.memory = nn.Sequential(nn.Linear(memory_width, width), nn.LayerNorm(width))
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def remember(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the fused positions, for every block: [batch, depth, heads, length, head width]."""
        memory = self.memory(fused.values)
        pairs = [cast(DecoderBlock, block).cross_attention.keys_values(memory) for block in self.blocks]
        return {
            "memory.keys": torch.stack([keys for keys, _ in pairs], 1),
            "memory.values": torch.stack([values for _, values in pairs], 1),
            "memory.mask": fused.mask,
        }

    def read(
        self, hidden: Float[Tensor, "batch group length width"], state: Mapping[str, Tensor], causal: bool = True
    ) -> Float[Tensor, "batch group length width"]:
        """Compute the whole sequence at once."""
        for layer, block in enumerate(self.blocks):
            keys, values = state["memory.keys"][:, layer], state["memory.values"][:, layer]
            hidden, _ = block(hidden, keys, values, state["memory.mask"], causal=causal)
        return self.norm(hidden)

    def read_real(
        self,
        hidden: Float[Tensor, "batch group length width"],
        real: Bool[Tensor, "batch group length"],
        state: Mapping[str, Tensor],
    ) -> Float[Tensor, "real width"]:
        """``read`` of the real positions alone, first in each text: half of a batch of captions is padding."""
        values = hidden[real]
        for layer, block in enumerate(self.blocks):
            keys, vectors = state["memory.keys"][:, layer], state["memory.values"][:, layer]
            values, _ = block(values, keys, vectors, state["memory.mask"], real=real)  # FSDP gathers what ``forward`` uses
        return self.norm(values)


class StepwiseTransformer(CrossTransformer):
    """Decodes token by token, with a cache. ``embedding`` maps tokens and positions to vectors, and vectors to logits."""

    def __init__(self, embedding: nn.Module, memory_width: int, width: int, depth: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__(memory_width, width, depth, heads, dropout)
        self.embedding = embedding

    def logits(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length codes"]:
        """Teacher-forced: position ``t`` predicts token ``t + 1``."""
        memory = self.remember(fused)
        return self.score(self.read(self.embed(tokens, memory), memory), memory)

    def score(
        self, vectors: Float[Tensor, "batch group length width"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length codes"]:
        """Logits of the tokens after each position, from position ``first`` on."""
        return self.embedding.logits(vectors)  # type: ignore[operator]

    def embed(
        self, tokens: Int[Tensor, "batch group length"], state: Mapping[str, Tensor], first: Place = 0
    ) -> Float[Tensor, "batch group length width"]:
        """Vectors of the tokens from position ``first`` on."""
        return self.embedding(tokens, first=first)

    def start(self, fused: Fused) -> dict[str, Tensor]:
        """Keys and values of the memory, once per row, and an empty cache with one beam."""
        memory = self.remember(fused)
        batch, depth, heads, _, head_width = memory["memory.keys"].shape
        empty = memory["memory.keys"].new_zeros(batch, 1, depth, heads, 0, head_width)
        return {**memory, "cache.keys": empty, "cache.values": empty.clone()}

    def step(
        self, tokens: Int[Tensor, "batch group"], state: dict[str, Tensor], at: Int[Tensor, " 1"] | None = None
    ) -> tuple[Float[Tensor, "batch group codes"], dict[str, Tensor]]:
        """Read one more token per beam; the cache's group must equal that of ``tokens``. With ``at``, the cache has free
        positions, the token is at ``at``, and the cache is written in place, so all steps have the same sizes."""
        batch, group = tokens.shape
        past_keys, past_values = state["cache.keys"].flatten(0, 1), state["cache.values"].flatten(0, 1)
        first = past_keys.shape[3] if at is None else at
        values = self.embed(tokens.unsqueeze(-1), state, first)
        keys_now, values_now = [], []
        for layer, block in enumerate(self.blocks):
            memory = state["memory.keys"][:, layer], state["memory.values"][:, layer], state["memory.mask"]
            values, (keys, own) = block(values, *memory, past=(past_keys[:, layer], past_values[:, layer]), at=at)
            keys_now.append(keys)
            values_now.append(own)
        if at is not None:
            return self.score(self.norm(values), state, first).squeeze(2), state
        new = {
            "cache.keys": torch.stack(keys_now, 1).unflatten(0, (batch, group)),
            "cache.values": torch.stack(values_now, 1).unflatten(0, (batch, group)),
        }
        return self.score(self.norm(values), state, first).squeeze(2), {**state, **new}

    def reorder(self, state: dict[str, Tensor], parents: Int[Tensor, "batch group"]) -> dict[str, Tensor]:
        return reorder_cache(state, parents)


class TokenEmbedding(nn.Module):
    """Token plus learned position embedding; ``logits`` uses the same table (tied weights, arXiv:1608.05859)."""

    def __init__(self, vocab_size: int, max_length: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_length, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        nn.init.normal_(self.positions.weight, std=width**-0.5)

    def forward(
        self, tokens: Int[Tensor, "*rows length"], first: Place = 0, dropped: Bool[Tensor, "*rows length"] | None = None
    ) -> Float[Tensor, "*rows length width"]:
        """Embed tokens; a token that is ``dropped`` gets only its position embedding."""
        words = self.tokens(tokens) if dropped is None else self.tokens(tokens).masked_fill(dropped.unsqueeze(-1), 0)
        return self.dropout(words + self.positions(first + torch.arange(tokens.shape[-1], device=tokens.device)))

    def logits(self, values: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows vocab"]:
        return F.linear(values, self.tokens.weight)

    def table(self) -> Float[Tensor, "vocab width"]:
        """The vector of every token."""
        return self.tokens.weight


class SharedTokenEmbedding(nn.Module):
    """Another part's token embedding, normalized and projected to this width, plus its own position embedding.

    The token embedding stays a parameter of the other part: it is stored, counted and trained there.
    """

    def __init__(self, tokens: nn.Embedding, max_length: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self._tokens = [tokens]  # in a list, where torch does not search for parameters
        self.norm = nn.LayerNorm(tokens.embedding_dim)
        self.projection = nn.Linear(tokens.embedding_dim, width)
        self.positions = nn.Embedding(max_length, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.positions.weight, std=width**-0.5)

    def forward(self, tokens: Int[Tensor, "*rows length"]) -> Float[Tensor, "*rows length width"]:
        positions = torch.arange(tokens.shape[-1], device=tokens.device)
        return self.dropout(self.projection(self.norm(self._tokens[0](tokens))) + self.positions(positions))

    def table(self) -> Float[Tensor, "vocab width"]:
        """The vector of every token."""
        return self.projection(self.norm(self._tokens[0].weight))


def sequence_loss(
    values: Float[Tensor, "batch group length width"],
    head: Callable[[Float[Tensor, "real width"]], Float[Tensor, "real vocab"]],
    target: Padded,
    label_smoothing: float = 0.0,
    weights: Float[Tensor, "batch group"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the real tokens after <bos>; ``values[..., t, :]`` predicts token ``t + 1``.

    ``weights`` multiply the loss of each text, and may be negative: with advantages as weights, it is a policy gradient.

    ``head`` only gets real positions: the product with the vocabulary is the largest of a small decoder, and a third of a
    padded batch is padding.
    """
    return token_loss(head(values[..., :-1, :][target.mask[..., 1:]]), target, label_smoothing, weights)


def token_loss(
    logits: Float[Tensor, "real vocab"],
    target: Padded,
    label_smoothing: float = 0.0,
    weights: Float[Tensor, "batch group"] | None = None,
) -> Float[Tensor, ""]:
    """``sequence_loss`` from the logits of the real tokens after <bos>, text by text."""
    real = target.mask[..., 1:]
    tokens = target.values[..., 1:][real]
    if weights is None:
        return F.cross_entropy(logits.float(), tokens, label_smoothing=label_smoothing)
    losses = F.cross_entropy(logits.float(), tokens, reduction="none", label_smoothing=label_smoothing)
    return (losses * weights.unsqueeze(-1).expand(real.shape)[real]).mean()


def weighted_mean(
    losses: Float[Tensor, " batch"], counted: Bool[Tensor, " batch"], weights: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, ""]:
    """Weighted mean of the ``counted`` rows; 0 if there are none."""
    share = counted.to(losses.dtype) if weights is None else counted * weights
    return (losses * share).sum() / share.sum().clamp(min=1e-6)


def reorder_cache(state: Mapping[str, Tensor], parents: Int[Tensor, "batch group"]) -> dict[str, Tensor]:
    """Reorder the group of every ``cache.*`` [batch, old group, ...] by ``parents``; ``memory.*`` does not change."""
    rows = torch.arange(parents.shape[0], device=parents.device).unsqueeze(1)
    return {name: value[rows, parents] if name.startswith("cache.") else value for name, value in state.items()}
