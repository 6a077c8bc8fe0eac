"""A pretrained audio encoder of Hugging Face, with its own spectrogram or the samples themselves."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from braid.errors import UserError
from braid.huggingface import hub
from braid.huggingface.hub import PretrainedEncoder
from braid.huggingface.recordings import recordings
from braid.layers.context import BuildContext
from braid.layers.spectrogram import in_pieces, pieces_of_mask, times
from braid.modalities import AudioModality, AudioModalityConfig, Tokenizer
from braid.modalities.audio import LogMelConfig, SamplesConfig
from braid.records import Features, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class PretrainedAudioEncoderConfig:
    """AST, Whisper's encoder, the audio half of CLAP (without fusion), wav2vec2 or HuBERT, from transformers.

    They read recordings of one length: a longer one is read in pieces, a shorter one is followed by silence.

    A run reads ``source`` when it starts and puts ``architecture`` in its place: a saved model needs neither hub nor folder.

    Args:
        source: a name on the Hugging Face hub, or a local folder.
        train: ``frozen`` trains nothing, ``full`` everything, ``lora`` low-rank matrices (arXiv:2106.09685).
        lora_rank: rank of those matrices.
        architecture: the model's transformers configuration; a run fills it in.
    """

    kind: Literal["pretrained_audio"] = "pretrained_audio"
    source: str = ""
    train: hub.Training = "frozen"
    lora_rank: int = 8
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "audio"

    def __post_init__(self) -> None:
        hub.check_part(self.source, self.architecture, self.lora_rank)

    def build(self, context: BuildContext) -> "PretrainedAudioEncoder":
        return PretrainedAudioEncoder(self, context.input)

    def taken_over(
        self, folder: Path, modality: AudioModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedAudioEncoderConfig", AudioModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, and its input with the rate, the spectrogram and the length of the model's own; a model
        of samples reads any length."""
        own = recordings(folder, hub.configuration(folder, hub.AUDIO))
        part = replace(self, source="", architecture=hub.architecture(folder, hub.AUDIO))
        own = replace(own, seconds=modality.seconds) if isinstance(own.spectrogram, SamplesConfig) else own
        return part, replace(own, augmentation=modality.augmentation), {}


class PretrainedAudioEncoder(PretrainedEncoder):
    """Spectrogram [n, length, mels], or samples [n, length, step] -> the network's vector at each stretch of time; the mean over
    its frequencies."""

    role = hub.AUDIO

    def __init__(self, config: PretrainedAudioEncoderConfig, modality: AudioModality) -> None:
        super().__init__(config)
        kind = str(config.architecture["model_type"])
        if kind not in READERS:
            raise UserError(f"a {kind} model does not encode recordings; give AST, Whisper, CLAP, wav2vec2 or HuBERT")
        self.reads = READERS[kind]
        given = modality.spectrogram.config
        _check(given, kind, self.network.config)
        self.frames = modality.spectrogram.frames(round(modality.config.seconds * modality.config.rate))
        # after a recording: zeros of the logarithm (AST), or silence, which may be limited by the loudest moment (Whisper)
        bands = given if isinstance(given, LogMelConfig) else None
        ast = kind == "audio-spectrogram-transformer"
        self.silence = -bands.mean / bands.std if bands and ast else modality.spectrogram.silence
        self.span = bands.span / bands.std if bands else 0.0
        self.width, spans = self._probed(kind, modality.mels)
        centres = (torch.arange(self.frames) + 0.5) / self.frames
        inside = (centres >= spans[:, :1]) & (centres < spans[:, 1:])
        self.register_buffer("spans", spans, persistent=False)
        self.register_buffer("inside", inside.float(), persistent=False)

    def forward(self, inputs: Padded) -> Features:
        pieces, real = in_pieces(inputs, self.frames), pieces_of_mask(inputs.mask, self.frames)
        values = self.reads(self.network, self._filled(pieces, real).flatten(0, 1), real.flatten(0, 1))[0]
        seen = real.to(values.dtype) @ self.inside.T.to(values.dtype) > 0  # type: ignore[operator]
        number, length = pieces.shape[1], inputs.values.shape[1]
        spans: Any = self.spans
        joined = values.unflatten(0, (-1, number)).flatten(1, 2)
        return Features(joined, seen.flatten(1), times(number, self.frames, length, spans))

    def _filled(
        self, pieces: Float[Tensor, "n pieces frames mels"], real: Bool[Tensor, "n pieces frames"]
    ) -> Float[Tensor, "n pieces frames mels"]:
        """The pieces as if silence followed their recording."""
        shown = real.unsqueeze(3)
        silence = torch.full_like(pieces[:, :, :1, :1], self.silence)
        if self.span:
            loudest = pieces.masked_fill(~shown, -torch.inf).amax((2, 3), keepdim=True)
            silence = torch.maximum(silence, loudest - self.span)
        return torch.where(shown, pieces, silence)

    def _probed(self, kind: str, mels: int) -> tuple[int, Float[Tensor, "positions 2"]]:
        """The width and the spans of the positions of one blank piece."""
        training = self.training
        try:
            with torch.no_grad():
                blank = torch.zeros(1, self.frames, mels)
                values, spans = self.reads(self.eval().network, blank, torch.ones(1, self.frames, dtype=torch.bool))
        except (ValueError, RuntimeError) as error:
            message = " ".join(str(error).split())[:160]
            raise UserError(f"the {kind} model does not take recordings of {self.frames} frames ({message})") from None
        self.train(training)
        return int(values.shape[2]), spans


Read = tuple[Float[Tensor, "n positions width"], Float[Tensor, "positions 2"]]


def _ast(network: Any, pieces: Float[Tensor, "n frames mels"], real: Bool[Tensor, "n frames"]) -> Read:
    """Patches after two tokens of the whole, one row a frequency; they overlap in time."""
    config, frames = network.config, pieces.shape[1]
    result = network(input_values=pieces).last_hidden_state
    columns = (frames - config.patch_size) // config.time_stride + 1
    first = torch.arange(columns).unsqueeze(1) * config.time_stride
    spans = torch.cat([first, first + config.patch_size], 1) / frames
    return result[:, 2:].unflatten(1, (-1, columns)).mean(1), spans


def _whisper(network: Any, pieces: Float[Tensor, "n frames mels"], real: Bool[Tensor, "n frames"]) -> Read:
    result = network(input_features=pieces.transpose(1, 2)).last_hidden_state
    return result, _even(result.shape[1])


def _clap(network: Any, pieces: Float[Tensor, "n frames mels"], real: Bool[Tensor, "n frames"]) -> Read:
    """[n, width, bands, columns] -> one vector a column."""
    result = network(input_features=pieces.unsqueeze(1)).last_hidden_state.mean(2).transpose(1, 2)
    return result, _even(result.shape[1])


def _samples(network: Any, pieces: Float[Tensor, "n frames step"], real: Bool[Tensor, "n frames"]) -> Read:
    """Convolutions over the samples, each position of ``width`` of them. Silence after a recording is hidden from models that
    were trained so (feat_extract_norm layer); the others hear it."""
    config, samples = network.config, pieces.flatten(1)
    found = network.feature_extractor(samples).transpose(1, 2)
    step, width = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        step, width = step * stride, width + (kernel - 1) * step
    first = torch.arange(found.shape[1], device=found.device).unsqueeze(1) * step
    ends = first + width
    projected = network.feature_projection(found)
    projected = projected[0] if isinstance(projected, tuple) else projected
    inside = (real.sum(1, keepdim=True) * pieces.shape[2] >= ends.T) | (first.T == 0)  # something is always shown
    shown = inside if config.feat_extract_norm == "layer" else None
    result = network.encoder(projected, attention_mask=shown).last_hidden_state
    return result, torch.cat([first, ends], 1) / samples.shape[1]


def _check(given: Any, kind: str, config: Any) -> None:
    """Check that an input gives what a model reads.

    Raises:
        UserError: when it gives a spectrogram in place of samples, or another number of bands.
    """
    if READERS[kind] is _samples:
        step = math.prod(config.conv_stride)
        if given.kind != "samples" or given.step != step:
            raise UserError(
                f"this {kind} model reads samples, not this spectrogram; set spectrogram to {{kind: samples, step: {step}}}"
            )
        return
    if given.kind == "samples":
        raise UserError(
            f"this {kind} model reads a spectrogram, not samples; set the kind of spectrogram to log_mel, whisper or ast"
        )
    if given.mels != config.num_mel_bins:
        bands = config.num_mel_bins
        raise UserError(f"the spectrogram has {given.mels} mel bands, the {kind} model reads {bands}; set mels to {bands}")


def _even(positions: int) -> Float[Tensor, "positions 2"]:
    first = torch.arange(positions).unsqueeze(1)
    return torch.cat([first, first + 1], 1) / positions


READERS: dict[str, Callable[[Any, Tensor, Tensor], Read]] = {
    "audio-spectrogram-transformer": _ast,
    "clap_audio_model": _clap,
    "hubert": _samples,
    "wav2vec2": _samples,
    "whisper": _whisper,
}
