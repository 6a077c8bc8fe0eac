"""Recordings and clips made in a test, and a tiny model with random weights that hears, sees and reads."""

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import nn

from braid.encoders import ShiftVideoEncoderConfig, ViTEncoderConfig
from braid.layers.context import BuildContext
from braid.modalities import (
    AudioModalityConfig,
    EmbeddingModalityConfig,
    ImageModalityConfig,
    LabelsModalityConfig,
    TextModalityConfig,
    VideoModalityConfig,
)
from braid.presets import tiny
from braid.records import Features, Padded
from braid.tasks import Captioning, Classification, Retrieval, VisualQuestionAnswering
from served import write_model

RATE = 16_000
SIZE = 16  # pixels of a frame
FRAMES = 4


@dataclass(frozen=True)
class HeardEncoderConfig:
    """Every ten frames of a spectrogram through one layer."""

    kind: Literal["heard"] = "heard"
    width: int = 32

    modality: ClassVar[str] = "audio"

    def build(self, context: BuildContext) -> "HeardEncoder":
        return HeardEncoder(context.input.mels, self.width)  # type: ignore[attr-defined]


class HeardEncoder(nn.Module):
    def __init__(self, mels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(mels, width)

    def forward(self, inputs: Padded) -> Features:
        steps = -(-inputs.mask.shape[1] // 10)
        lacking = 10 * steps - inputs.mask.shape[1]
        values = nn.functional.pad(inputs.values * inputs.mask.unsqueeze(-1), (0, 0, 0, lacking)).unflatten(1, (steps, 10))
        mask = nn.functional.pad(inputs.mask, (0, lacking)).unflatten(1, (steps, 10)).any(2)
        first = 10 * torch.arange(steps, device=values.device) / inputs.mask.shape[1]
        extent = torch.stack([first, first + 10 / inputs.mask.shape[1]], 1).clamp(max=1.0)
        return Features(self.linear(values.mean(2)).tanh() * mask.unsqueeze(-1), mask, extent)


def tone(seconds: float = 1.0, pitch: float = 440.0, loud: float = 0.5) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def ogg(samples: np.ndarray) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="OGG", subtype="VORBIS")
    return file.getvalue()


def mp4(frames: Sequence[np.ndarray], rate: int = 4, sound: np.ndarray | None = None) -> bytes:
    """A clip of MPEG-4, with a sound track of AAC if there is a sound."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        audio = container.add_stream("aac", rate=RATE) if sound is not None else None
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None and audio is not None:
            for first in range(0, len(sound), 1024):
                part = np.pad(sound[first : first + 1024], (0, max(0, first + 1024 - len(sound))))
                frame = av.AudioFrame.from_ndarray(part[None].astype(np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, first
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return file.getvalue()


def gif(frames: Sequence[np.ndarray]) -> bytes:
    file = io.BytesIO()
    images = [Image.fromarray(pixels) for pixels in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=250)
    return file.getvalue()


def moving(seed: int = 0, number: int = 8, size: int = 64) -> list[np.ndarray]:
    """A square that moves to the right over noise."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (number, size, size, 3), dtype=np.uint8)
    for place, frame in enumerate(frames):
        frame[20:40, 4 * place : 4 * place + 16] = 230
    return list(frames)


def write_hearing_model(folder: Path) -> Path:
    """A model of recordings, clips and texts; it captions, answers, labels and embeds."""
    inputs = {
        "audio": AudioModalityConfig(seconds=2.0),
        "video": VideoModalityConfig(frames=FRAMES, size=SIZE),
        "prompt": TextModalityConfig(max_length=16),
    }
    outputs = {
        "text": TextModalityConfig(max_length=26),
        "label": LabelsModalityConfig(labels=("cat", "dog", "star")),
        "embedding": EmbeddingModalityConfig(),
    }
    frame = ViTEncoderConfig(patch_size=8, width=32, depth=1, heads=2, dropout=0.0)
    base = tiny(["prompt"], list(outputs))
    video = ShiftVideoEncoderConfig(frame=frame, width=32, dropout=0.0)
    config = replace(base, encoders={**base.encoders, "video": video, "audio": HeardEncoderConfig()})
    tasks = (Captioning(), VisualQuestionAnswering(), Classification(), Retrieval(sides=("video", "prompt")))
    write_model(folder, config, inputs, outputs, tasks)
    return folder


def image_model(folder: Path) -> Path:
    """A model that reads images and texts alone."""
    inputs = {"image": ImageModalityConfig(size=32), "prompt": TextModalityConfig(max_length=16)}
    write_model(folder, tiny(), inputs, {"text": TextModalityConfig(max_length=26)}, (Captioning(), VisualQuestionAnswering()))
    return folder
