"""Image editing: a decoder that changes a given image (the source) reads its tokens, and may copy them one by one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from braid.layers.attention import Place
from braid.layers.image_tokens import TokenCodec, TokenContext, read_tokens, reconstruct
from braid.modalities import ImageModalityConfig, TokenGrid
from braid.records import BatchInput, Padded
from braid.shapes import Float, Int


def source_tokens(codec: TokenCodec, given: BatchInput) -> Padded:
    """The tokens [batch, length] of each row's source; the mask [batch] is False in a row without one."""
    tokens = read_tokens(codec, given.distinct.values)
    return Padded(tokens[given.index.clamp(min=0)], given.index >= 0)


@dataclass(frozen=True)
class ReconstructionAugmentation:
    """Shows some images of a training batch as the codec reconstructs them: a generated image has been through it once.

    Args:
        codec: whose reconstructions they are.
        scale: what the images' numbers mean.
        probability: that an image is shown so.
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
    """A source's tokens, each with its neighbourhood, at half the decoder's width."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__(grid, max(width // 2, 1))
        self.widen = nn.Linear(max(width // 2, 1), width)
        nn.init.zeros_(
            self.widen.weight
        )  # begins as without a source, so that a model may learn to generate first and to edit then
        nn.init.zeros_(self.widen.bias)

    def vectors(self, source: Padded) -> Float[Tensor, "batch length width"]:
        """Zero in a row without a source."""
        vectors: Float[Tensor, "batch length width"] = self.widen(self(source.values).flatten(2).transpose(1, 2))
        return vectors * source.mask.view(-1, 1, 1).to(vectors.dtype)


def copied(
    logs: Float[Tensor, "*rows codes"], source: Int[Tensor, "*rows"], copy: Float[Tensor, "*rows"]
) -> Float[Tensor, "*rows codes"]:
    """Log-probabilities to which those of copying the source's token are added (a pointer, arXiv:1704.04368)."""
    place = source.clamp(max=logs.shape[-1] - 1).unsqueeze(-1)
    return logs.scatter(-1, place, torch.logaddexp(logs.gather(-1, place), copy.unsqueeze(-1)))


def positions(state: Mapping[str, Tensor], name: str, first: Place, length: int) -> Tensor:
    """``length`` positions of an entry [batch, length, ...] of a decoder's state, from ``first`` on."""
    values = state[name]
    if isinstance(first, Tensor):
        return values.index_select(1, first + torch.arange(length, device=values.device))
    return values[:, first : first + length]
