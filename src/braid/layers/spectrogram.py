"""Spectrograms in pieces of equal time, as audio encoders read them.

Pieces are counted from the beginning, and masked frames are zero. So a piece is the same whatever follows it, and frames that
only fill up a batch never change an answer.
"""

import torch
from torch import Tensor

from braid.records import Padded
from braid.shapes import Bool, Float

LONGEST = 10_000.0  # wavelength of the slowest position wave, in positions (arXiv:1706.03762)


def in_pieces(inputs: Padded, frames: int) -> Float[Tensor, "n pieces frames mels"]:
    """Cut spectrograms [n, length, mels] into pieces of ``frames`` frames; zeros fill up the last piece."""
    values = inputs.values * inputs.mask.unsqueeze(-1).to(inputs.values.dtype)
    # as many zeros for every length: an exported graph takes any, and has no branch for a length that needs none
    values = torch.cat([values, values.new_zeros(values.shape[0], frames - 1, values.shape[2])], 1)
    pieces = values.shape[1] // frames
    return values[:, : pieces * frames].unflatten(1, (pieces, frames))


def pieces_of_mask(mask: Bool[Tensor, "n length"], frames: int) -> Bool[Tensor, "n pieces frames"]:
    """The mask of each frame in each piece."""
    mask = torch.cat([mask, torch.zeros_like(mask[:, :1]).expand(-1, frames - 1)], 1)
    pieces = mask.shape[1] // frames
    return mask[:, : pieces * frames].unflatten(1, (pieces, frames))


def times(pieces: int, frames: int, length: int, spans: Float[Tensor, "spans 2"]) -> Float[Tensor, "positions 2"]:
    """Start and end of positions as shares of ``length`` frames, piece by piece.

    Args:
        frames: in a piece.
        spans: start and end of each position of a piece, as shares of the piece.
    """
    first = torch.arange(pieces, device=spans.device).view(-1, 1, 1)
    return ((first + spans) * (frames / length)).flatten(0, 1).clamp(max=1)


def waves(number: int, width: int, device: torch.device) -> Float[Tensor, "number width"]:
    """Sines and cosines that tell positions in time apart, for recordings of any length (arXiv:1706.03762).

    Args:
        width: of a position.
    """
    half = (width + 1) // 2
    rates = LONGEST ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angles = torch.arange(number, device=device, dtype=torch.float32).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width]
