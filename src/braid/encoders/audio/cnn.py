"""A small convolutional network over the spectrogram, trained from scratch."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.config import within
from braid.layers.context import BuildContext
from braid.layers.residual import MaskedConvolution, residual_stages
from braid.layers.spectrogram import in_pieces, pieces_of_mask, times, waves
from braid.records import Features, Padded
from braid.shapes import Bool, Float

STEM = (5, 2)  # frames and mel bands of a step of the first convolution


@dataclass(frozen=True)
class AudioCNNEncoderConfig:
    """Residual convolutions over time and frequency, for a few hundred to a few thousand recordings (arXiv:1512.03385).

    The frequency is a second channel, because the same pattern at another pitch is another sound (arXiv:1807.03247).

    Args:
        channels: of the first convolution; every stage doubles them.
        stages: each halves time and frequency.
        dropout: probability that a channel is dropped in training, after each stage.
    """

    kind: Literal["audio_cnn"] = "audio_cnn"
    channels: int = 24
    stages: int = 3
    dropout: float = 0.1

    modality: ClassVar[str] = "audio"

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "channels")
        within(self, 1, 5, "stages")
        within(self, 0, 1, "dropout")

    def build(self, context: BuildContext) -> "AudioCNNEncoder":
        return AudioCNNEncoder(self)


class AudioCNNEncoder(nn.Module):
    """Spectrogram [n, length, mels] -> mean and maximum over the frequencies, for each step of the last stage."""

    def __init__(self, config: AudioCNNEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = MaskedConvolution(2, config.channels, 7, STEM)
        self.stages = residual_stages(config.channels, config.stages)
        self.dropout = nn.Dropout2d(config.dropout)
        self.frames = STEM[0] * 2**config.stages  # of one position
        self.width = 2 * config.channels * 2**config.stages

    def forward(self, inputs: Padded) -> Features:
        pieces = in_pieces(inputs, self.frames)
        real = pieces_of_mask(inputs.mask, self.frames).flatten(1)
        spectrogram = pieces.flatten(1, 2).unsqueeze(1)
        pitch = torch.linspace(-1, 1, spectrogram.shape[3], device=spectrogram.device).to(spectrogram.dtype)
        values = torch.cat([spectrogram, pitch.expand_as(spectrogram) * _weights(real, spectrogram)], 1)
        real = real.unflatten(1, (-1, STEM[0])).any(2)
        values = self.stem(values, _weights(real, values)).relu()
        for stage in self.stages:
            real = real.unflatten(1, (-1, 2)).any(2)
            values = self.dropout(stage(values, _weights(real, values)))
        pooled = torch.cat([values.mean(3), values.amax(3)], 1).transpose(1, 2)
        pooled = pooled + waves(pooled.shape[1], self.width, pooled.device).to(pooled.dtype)
        spans = pooled.new_tensor([[0.0, 1.0]])
        return Features(pooled, real, times(real.shape[1], self.frames, inputs.values.shape[1], spans))


def _weights(real: Bool[Tensor, "n steps"], like: Tensor) -> Float[Tensor, "n 1 steps 1"]:
    return real[:, None, :, None].to(like.dtype)
