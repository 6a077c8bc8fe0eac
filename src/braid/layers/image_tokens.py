"""Maps image tokens to vectors, and vectors to probabilities of image tokens.

A token may have several parts, such as outline and colour. Then each part has its own table and output, like the split codes of
MAGVIT-v2 (arXiv:2310.05737).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.layers.attention import Place
from braid.layers.convolution import ResidualBlock
from braid.modalities import ImageModalityConfig, TokenGrid
from braid.records import BatchInput, Padded
from braid.shapes import Float, Int

NO_CODEC = "a decoder of images writes the tokens of a codec, and the model has none"


@runtime_checkable
class TokenCodec(Protocol):
    """The protocol of a codec for parts that read its tokens."""

    grid: TokenGrid

    def encode(self, pixels: Float[Tensor, "n 3 height width"]) -> Int[Tensor, "n length"]: ...

    def decode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n 3 height width"]: ...


def read_tokens(codec: TokenCodec, pixels: Float[Tensor, "n 3 height width"]) -> Int[Tensor, "n length"]:
    """Tokens of a frozen codec, computed in full precision, because rounding could change a code."""
    with torch.no_grad(), _exactly(pixels.device):
        return codec.encode(pixels)


def reconstruct(
    codec: TokenCodec, pixels: Float[Tensor, "n 3 height width"], scale: ImageModalityConfig
) -> Float[Tensor, "n 3 height width"]:
    """Encode and decode images with the codec; values are rounded to 255 steps, as in a file. ``scale`` defines their range."""
    with torch.no_grad(), _exactly(pixels.device):
        made = codec.decode(codec.encode(pixels))
        std, mean = (made.new_tensor(numbers).view(3, 1, 1) for numbers in (scale.std, scale.mean))
        return (((made * std + mean).clamp(0, 1) * 255).round() / 255 - mean) / std


def _exactly(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


def digits(tokens: Int[Tensor, "*rows"], grid: TokenGrid) -> list[Int[Tensor, "*rows"]]:
    """The parts of each token. The code after the last one has its own last part, and 0 for the other parts."""
    split = [tokens // place for place in grid.places]
    return [part % size for part, size in zip(split[:-1], grid.parts, strict=False)] + split[-1:]


class TokenVectors(nn.Module):
    """The sum of one vector per part. An additional code begins an image, or masks a token."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in (*grid.parts[:-1], grid.parts[-1] + 1))
        for table in self.tables:
            nn.init.normal_(cast(nn.Embedding, table).weight, std=(width * len(grid.parts)) ** -0.5)

    def forward(self, tokens: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows width"]:
        result = [table(part) for table, part in zip(self.tables, digits(tokens, self.grid), strict=True)]
        return torch.stack(result).sum(0) if len(result) > 1 else result[0]


class TokenContext(nn.Module):
    """Vectors of image tokens with their neighbourhood in the grid.

    Each residual block adds two cells on every side to the receptive field. After four blocks, a token at the edge of a shape can
    recognise the shape.
    """

    def __init__(self, grid: TokenGrid, width: int, depth: int = 4) -> None:
        super().__init__()
        self.shape = (grid.rows, grid.columns)
        self.tokens = TokenVectors(grid, width)
        self.around = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))

    def forward(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n width rows columns"]:
        result: Tensor = self.around(self.tokens(tokens).transpose(1, 2).unflatten(2, self.shape))
        return result


class TokenHead(nn.Module):
    """Predicts the first part from a vector, and each later part from the vector and the parts before it."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.first = nn.Linear(width, grid.parts[0])
        self.later = nn.ModuleList(_LaterPart(grid.parts[:part], width, size) for part, size in enumerate(grid.parts) if part)

    def forward(self, values: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows codes"]:
        """Logits of all codes."""
        logits: Tensor = self.first(values)
        for part, later in enumerate(self.later, 1):
            before = torch.arange(logits.shape[-1], device=values.device)
            own = later(values.unsqueeze(-2), digits(before, TokenGrid(1, 1, self.grid.parts[:part])))
            logits = (logits.unsqueeze(-2) + own.log_softmax(-1).transpose(-1, -2)).flatten(-2)
        return logits

    def losses(
        self, values: Float[Tensor, "rows width"], tokens: Int[Tensor, " rows"], label_smoothing: float
    ) -> Float[Tensor, " rows"]:
        """Cross-entropy of each token: the sum over its parts."""
        parts = digits(tokens, self.grid)
        logits = [self.first(values), *(later(values, parts[:part]) for part, later in enumerate(self.later, 1))]
        result = [
            F.cross_entropy(one.float(), part, label_smoothing=label_smoothing, reduction="none")
            for one, part in zip(logits, parts, strict=True)
        ]
        return torch.stack(result).sum(0)


class _LaterPart(nn.Module):
    def __init__(self, before: Sequence[int], width: int, size: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, width)
        self.before = nn.ModuleList(nn.Embedding(one, width) for one in before)
        self.out = nn.Linear(width, size)

    def forward(
        self, values: Float[Tensor, "*#rows width"], before: Sequence[Int[Tensor, "*#rows"]]
    ) -> Float[Tensor, "*#rows size"]:
        hidden = self.read(values)
        for table, part in zip(self.before, before, strict=True):
            hidden = hidden + table(part)
        return cast(Tensor, self.out(F.silu(hidden)))


class GridEmbedding(nn.Module):
    """Embeds an image token plus its position in the grid, or the position of the next token."""

    def __init__(self, grid: TokenGrid, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.columns = grid.columns
        self.tokens = TokenVectors(grid, width)
        self.row_vectors = nn.Embedding(grid.rows, width)
        self.column_vectors = nn.Embedding(grid.columns, width)
        self.dropout = nn.Dropout(dropout)
        self.head = TokenHead(grid, width)
        for table in (self.row_vectors, self.column_vectors):
            nn.init.normal_(table.weight, std=width**-0.5)

    def forward(self, tokens: Int[Tensor, "*rows length"], first: Place = 0) -> Float[Tensor, "*rows length width"]:
        places = first + torch.arange(tokens.shape[-1], device=tokens.device)
        where = self.row_vectors(places // self.columns) + self.column_vectors(places % self.columns)
        return self.dropout(self.tokens(tokens) + where)

    def logits(self, values: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows codes"]:
        return self.head(values)


def source_tokens(codec: TokenCodec, given: BatchInput) -> Padded:
    """The tokens [batch, length] of each row's source; the mask [batch] is False for a row without a source."""
    tokens = read_tokens(codec, given.distinct.values)
    return Padded(tokens[given.index.clamp(min=0)], given.index >= 0)


@dataclass(frozen=True)
class ReconstructionAugmentation:
    """Replaces some images of a training batch by the codec's reconstructions, because generated images are its output, too.

    Args:
        codec: the codec that reconstructs the images.
        scale: the range of the images' values.
        probability: the probability of replacing an image.
    """

    codec: TokenCodec
    scale: ImageModalityConfig
    probability: float

    def __call__(self, given: BatchInput) -> BatchInput:
        if given.encoded:
            return given
        pixels, mask = given.distinct.values, given.distinct.mask
        reconstructed = reconstruct(self.codec, pixels, self.scale) * mask.unsqueeze(1)
        chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < self.probability
        return replace(given, distinct=Padded(torch.where(chosen, reconstructed, pixels), mask))


class SourceEmbedding(TokenContext):
    """Vectors of a source's tokens with their neighbourhood, at half the decoder's width."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__(grid, max(width // 2, 1))
        self.widen = nn.Linear(max(width // 2, 1), width)
        nn.init.zeros_(
            self.widen.weight
        )  # initially has no effect, so that a model can first learn to generate, and then to edit
        nn.init.zeros_(self.widen.bias)

    def vectors(self, source: Padded) -> Float[Tensor, "batch length width"]:
        """The vectors of a source; zero for a row without one."""
        vectors: Float[Tensor, "batch length width"] = self.widen(self(source.values).flatten(2).transpose(1, 2))
        return vectors * source.mask.view(-1, 1, 1).to(vectors.dtype)


def copied(
    logs: Float[Tensor, "*rows codes"], source: Int[Tensor, "*rows"], copy: Float[Tensor, "*rows"]
) -> Float[Tensor, "*rows codes"]:
    """Add the probability of copying the source's token to the log-probabilities (a pointer, arXiv:1704.04368)."""
    place = source.clamp(max=logs.shape[-1] - 1).unsqueeze(-1)
    return logs.scatter(-1, place, torch.logaddexp(logs.gather(-1, place), copy.unsqueeze(-1)))


def positions(state: Mapping[str, Tensor], name: str, first: Place, length: int) -> Tensor:
    """Slice an entry [batch, length, ...] of a decoder's state: ``length`` positions from ``first`` on."""
    values = state[name]
    if isinstance(first, Tensor):
        return values.index_select(1, first + torch.arange(length, device=values.device))
    return values[:, first : first + length]
