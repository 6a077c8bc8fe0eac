"""Recordings that are damaged, unusual, or none."""

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from bad.case import case
from braid.media import Clip
from braid.modalities import AudioModalityConfig

RATE = 16_000
TONE = (0.3 * np.sin(0.2 * np.arange(2 * RATE))).astype(np.float32)  # two seconds


def hear(value: Any) -> str:
    prepared = AudioModalityConfig().build().prepare(value)
    return f"works: {' x '.join(map(str, prepared.frames.shape))}, the mean is {prepared.frames.mean():.1f}"


def saved(samples: Any = TONE, kind: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def film(path: Path, sound: bool, picture: bool = True, tone: np.ndarray = TONE[:RATE]) -> Path:
    """A clip of eight grey frames, with or without a tone."""
    import av

    with av.open(str(path), "w") as file:
        pictures = file.add_stream("mpeg4", 8) if picture else None
        sounds = file.add_stream("aac", RATE, layout="mono") if sound else None
        if pictures:
            pictures.width = pictures.height = 16
            for _ in range(8):
                file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 99, np.uint8), format="rgb24")))
            file.mux(pictures.encode())
        if sounds:
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            file.mux(sounds.encode(frame))
            file.mux(sounds.encode())
    return path


def written(home: Path, name: str, content: bytes) -> Path:
    (home / name).write_bytes(content)
    return home / name


@case("audio", "a WAV that is cut short: what is there")
def _(home: Path) -> Any:
    return hear(written(home, "cut.wav", saved()[:20_000]))


@case("audio", "a FLAC that is cut short")
def _(home: Path) -> Any:
    content = saved(kind="FLAC")
    return hear(written(home, "cut.flac", content[: len(content) // 2]))


@case("audio", "an Ogg Vorbis that is cut short")
def _(home: Path) -> Any:
    content = saved(kind="OGG", subtype="VORBIS")
    return hear(written(home, "cut.ogg", content[: len(content) // 2]))


@case("audio", "an MP3 that is cut short")
def _(home: Path) -> Any:
    content = saved(np.tile(TONE, 5), kind="MP3")
    return hear(written(home, "cut.mp3", content[: len(content) // 2]))


@case("audio", "a FLAC with damage inside")
def _(home: Path) -> Any:
    content = bytearray(saved(np.random.default_rng(0).normal(0, 0.1, RATE), kind="FLAC"))
    content[9_000:12_000] = bytes(3000)
    return hear(written(home, "hurt.flac", bytes(content)))


@case("audio", "a file of zero bytes")
def _(home: Path) -> Any:
    return hear(written(home, "empty.wav", b""))


@case("audio", "a WAV with a header and no samples")
def _(home: Path) -> Any:
    return hear(written(home, "none.wav", saved(TONE[:0])))


@case("audio", "a text file named .wav")
def _(home: Path) -> Any:
    return hear(written(home, "notes.wav", b"no sound at all, only words"))


@case("audio", "an image named .mp3")
def _(home: Path) -> Any:
    Image.new("RGB", (9, 9)).save(home / "cover.mp3", format="PNG")
    return hear(home / "cover.mp3")


@case("audio", "a pointer of Git LFS")
def _(home: Path) -> Any:
    return hear(written(home, "lfs.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 39500000\n"))


@case("audio", "a playlist that names another file")
def _(home: Path) -> Any:
    written(home, "other.wav", saved())
    return hear(written(home, "list.mp3", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nother.wav\n#EXT-X-ENDLIST\n"))


@case("audio", "a clip without a sound track")
def _(home: Path) -> Any:
    return hear(film(home / "silent.mp4", sound=False))


@case("audio", "a clip with a sound track")
def _(home: Path) -> Any:
    return hear(film(home / "talk.mp4", sound=True))


@case("audio", "a recording of a phone: AAC in .m4a")
def _(home: Path) -> Any:
    return hear(film(home / "phone.m4a", sound=True, picture=False))


@case("audio", "a FLAC named .mp3")
def _(home: Path) -> Any:
    return hear(written(home, "flac.mp3", saved(kind="FLAC")))


@case("audio", "silence")
def _(home: Path) -> Any:
    return hear(written(home, "still.wav", saved(0 * TONE)))


@case("audio", "one sample")
def _(home: Path) -> Any:
    return hear(written(home, "click.wav", saved(TONE[:1])))


@case("audio", "clipped")
def _(home: Path) -> Any:
    return hear(written(home, "loud.wav", saved(np.clip(9 * TONE, -1, 1))))


@case("audio", "floats with one NaN")
def _(home: Path) -> Any:
    samples = TONE.copy()
    samples[9] = np.nan
    return hear(written(home, "nan.wav", saved(samples, subtype="FLOAT")))


@case("audio", "floats up to 32,767")
def _(home: Path) -> Any:
    return hear(written(home, "scale.wav", saved(TONE * 32767, subtype="FLOAT")))


@case("audio", "192 kHz, 8 channels, 24 bits")
def _(home: Path) -> Any:
    return hear(written(home, "studio.wav", saved(np.tile(TONE[:, None], 8), rate=192_000, subtype="PCM_24")))


@case("audio", "100 channels")
def _(home: Path) -> Any:
    return hear(written(home, "choir.wav", saved(np.zeros((9, 100), np.float32))))


@case("audio", "a rate of 7 Hz")
def _(home: Path) -> Any:
    content = bytearray(saved())
    content[24:28] = struct.pack("<I", 7)
    return hear(written(home, "slow.wav", bytes(content)))


@case("audio", "3 hours: the 10 seconds in the middle")
def _(home: Path) -> Any:
    header = bytearray(saved(TONE[:0]))
    size = 3 * 3600 * RATE * 2
    header[4:8], header[40:44] = struct.pack("<I", 36 + size), struct.pack("<I", size)
    path = written(home, "long.wav", bytes(header))
    os.truncate(path, len(header) + size)  # no bytes on disk
    return hear(path)


@case("audio", "a part that starts after the end")
def _(home: Path) -> Any:
    return hear(Clip(str(written(home, "short.wav", saved())), 7.0, 9.0))


@case("audio", "a folder")
def _(home: Path) -> Any:
    return hear(home / "model")


@case("audio", "a pipe")
def _(home: Path) -> Any:
    os.mkfifo(home / "pipe.wav")
    return hear(home / "pipe.wav")


@case("audio", "a file that is missing")
def _(home: Path) -> Any:
    return hear(home / "gone.wav")


@case("audio", "a web address")
def _(home: Path) -> Any:
    return hear("https://example.org/dog.wav")


@case("audio", "samples without their rate")
def _(home: Path) -> Any:
    return hear(TONE)


@case("audio", "samples as [channels, n]")
def _(home: Path) -> Any:
    return hear((np.zeros((2, RATE), np.float32), RATE))


@case("audio", "samples that are true or false")
def _(home: Path) -> Any:
    return hear((np.zeros(RATE, bool), RATE))


@case("audio", "a rate in kHz")
def _(home: Path) -> Any:
    return hear((TONE, 44.1))
