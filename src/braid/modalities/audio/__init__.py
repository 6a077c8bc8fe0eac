"""The audio modality: recordings as log-mel frames or as samples, augmentation."""

from braid.modalities.audio.augmentation import AudioAugmentation
from braid.modalities.audio.modality import AudioModality, AudioModalityConfig, PreparedSound
from braid.modalities.audio.samples import SamplesConfig
from braid.modalities.audio.spectrogram import ASTConfig, LogMelConfig, SpectrogramConfig, WhisperConfig

__all__ = [
    "ASTConfig",
    "AudioAugmentation",
    "AudioModality",
    "AudioModalityConfig",
    "LogMelConfig",
    "PreparedSound",
    "SamplesConfig",
    "SpectrogramConfig",
    "WhisperConfig",
]
