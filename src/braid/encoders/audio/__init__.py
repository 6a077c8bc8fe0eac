"""Recordings -> Features, one file a kind."""

from braid.encoders.audio.cnn import AudioCNNEncoder, AudioCNNEncoderConfig
from braid.encoders.audio.frame import FrameAudioEncoder, FrameAudioEncoderConfig
from braid.encoders.audio.pretrained import PretrainedAudioEncoder, PretrainedAudioEncoderConfig
from braid.encoders.audio.transformer import AudioTransformerEncoder, AudioTransformerEncoderConfig

AudioEncoderConfig = (
    AudioCNNEncoderConfig | AudioTransformerEncoderConfig | FrameAudioEncoderConfig | PretrainedAudioEncoderConfig
)

__all__ = [
    "AudioCNNEncoder",
    "AudioCNNEncoderConfig",
    "AudioEncoderConfig",
    "AudioTransformerEncoder",
    "AudioTransformerEncoderConfig",
    "FrameAudioEncoder",
    "FrameAudioEncoderConfig",
    "PretrainedAudioEncoder",
    "PretrainedAudioEncoderConfig",
]
