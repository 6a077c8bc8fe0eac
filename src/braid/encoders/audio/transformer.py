"""A transformer over patches of the spectrogram."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from braid.config import within
from braid.errors import UserError
from braid.layers.attention import EncoderBlock
from braid.layers.context import BuildContext
from braid.layers.spectrogram import in_pieces, pieces_of_mask, times, waves
from braid.records import Features, Padded


@dataclass(frozen=True)
class AudioTransformerEncoderConfig:
    """A transformer over patches of frames and frequencies, as AST (arXiv:2104.01778), for recordings of any length.

    Positions in time are waves (arXiv:1706.03762), positions in frequency are learned. The patches of one stretch of time are
    averaged at the end: a position is a stretch of time.

    Args:
        patch_frames: frames of a patch.
        patch_mels: frequency bands of a patch, which divide those of the spectrogram; 0 takes all of them.
        width: of a patch's vector.
        depth: number of blocks.
        heads: attention heads a block.
        dropout: probability that a value is dropped in training.
    """

    kind: Literal["audio_transformer"] = "audio_transformer"
    patch_frames: int = 16
    patch_mels: int = 16
    width: int = 192
    depth: int = 4
    heads: int = 3
    dropout: float = 0.1

    modality: ClassVar[str] = "audio"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "patch_frames", "width", "depth", "heads")
        within(self, 0, math.inf, "patch_mels")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "AudioTransformerEncoder":
        return AudioTransformerEncoder(self, context.input.example()[0].values.shape[2])


class AudioTransformerEncoder(nn.Module):
    """Spectrogram [n, length, mels] -> one vector for each ``patch_frames`` frames; it is real where any of them is."""

    def __init__(self, config: AudioTransformerEncoderConfig, mels: int) -> None:
        super().__init__()
        bands = config.patch_mels or mels
        if mels % bands:
            raise UserError(f"{mels} mel bands do not divide into patches of {bands}; change patch_mels")
        if config.width % 2:
            raise UserError(f"width is {config.width}; it must be even, because positions are pairs of waves")
        self.config, self.width = config, config.width
        self.rows, self.bands = mels // bands, bands
        self.patches = nn.Linear(config.patch_frames * bands, config.width)
        self.frequencies = nn.Parameter(0.02 * torch.randn(self.rows, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(config.width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, inputs: Padded) -> Features:
        frames = self.config.patch_frames
        pieces, mask = in_pieces(inputs, frames), pieces_of_mask(inputs.mask, frames).any(2)
        number = pieces.shape[1]
        # [n, pieces, frames, rows, bands] -> [n, pieces, rows, frames * bands]
        cut = pieces.unflatten(3, (self.rows, self.bands)).transpose(2, 3).flatten(3)
        when = waves(number, self.width, cut.device).to(cut.dtype)
        patches = self.patches(cut) + self.frequencies + when.unsqueeze(1)
        values = self.dropout(patches.flatten(1, 2))
        readable = mask.unsqueeze(2).expand(-1, -1, self.rows).flatten(1).unsqueeze(1)
        for block in self.blocks:
            values = block(values, readable)
        spans = values.new_tensor([[0.0, 1.0]])
        pooled = self.norm(values).unflatten(1, (number, self.rows)).mean(2)
        return Features(pooled, mask, times(number, frames, inputs.values.shape[1], spans))
