"""How pretrained audio encoders of Hugging Face prepare recordings, as audio inputs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from braid.errors import UserError
from braid.huggingface import hub
from braid.modalities import AudioModalityConfig
from braid.modalities.audio import ASTConfig, LogMelConfig, SamplesConfig, WhisperConfig

AST_HOP = 0.01  # seconds
CLAP_FLOOR = 1e-10


def recordings(folder: Path, config: Any) -> AudioModalityConfig:
    """How a model prepares its recordings: rate, length and spectrogram.

    Raises:
        UserError: when the model reads something else, or its folder does not say how.
    """
    kind = config.model_type
    if kind not in HEARS:
        raise UserError(f"{folder} holds a {kind} model, which Braid does not use; give AST, Whisper, CLAP, wav2vec2 or HuBERT")
    try:
        given = hub.library().AutoFeatureExtractor.from_pretrained(folder, **hub.AS_DATA)
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        raise UserError(
            f"{folder} has no readable preprocessor_config.json, which says how the model prepares its recordings; copy it, too"
        ) from None
    try:
        return HEARS[kind](given, config)
    except AttributeError:
        raise UserError(f"{folder}/preprocessor_config.json is not that of a {kind} model; copy it again") from None


def _as_ast(given: Any, config: Any) -> AudioModalityConfig:
    mean, std = (float(given.mean), float(given.std)) if given.do_normalize else (0.0, 0.5)
    spectrogram = ASTConfig(mels=int(config.num_mel_bins), mean=mean, std=std)
    return AudioModalityConfig(rate=int(given.sampling_rate), seconds=config.max_length * AST_HOP, spectrogram=spectrogram)


def _as_whisper(given: Any, config: Any) -> AudioModalityConfig:
    seconds = 2 * config.max_source_positions * given.hop_length / given.sampling_rate
    bands = WhisperConfig(mels=int(config.num_mel_bins))
    return AudioModalityConfig(rate=int(given.sampling_rate), seconds=seconds, spectrogram=bands)


def _as_clap(given: Any, config: Any) -> AudioModalityConfig:
    if config.enable_fusion:
        raise UserError("this CLAP model fuses several parts of a recording; give one without, as laion/clap-htsat-unfused")
    rate = int(given.sampling_rate)
    bands = LogMelConfig(
        window=given.fft_window_size / rate,
        hop=given.hop_length / rate,
        points=int(given.fft_window_size),
        mels=int(config.num_mel_bins),
        low=float(given.frequency_min),
        high=float(given.frequency_max),
        scale="slaney",
        area=True,
        floor=CLAP_FLOOR,
        mean=0.0,
        std=math.log(10) / 10,  # decibels
    )
    return AudioModalityConfig(rate=rate, seconds=float(given.max_length_s), spectrogram=bands)


def _as_samples(given: Any, config: Any) -> AudioModalityConfig:
    samples = SamplesConfig(step=math.prod(config.conv_stride), normalised=bool(given.do_normalize))
    return AudioModalityConfig(rate=int(given.sampling_rate), spectrogram=samples)


# by model_type: from the feature extractor and the configuration to the audio input
HEARS: dict[str, Callable[[Any, Any], AudioModalityConfig]] = {
    "audio-spectrogram-transformer": _as_ast,
    "clap_audio_model": _as_clap,
    "hubert": _as_samples,
    "wav2vec2": _as_samples,
    "whisper": _as_whisper,
}
