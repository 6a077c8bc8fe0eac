"""Reading sound and clips beside a peer on the same work: log-mel frames and librosa, eight frames of a clip and a plain loop.

    pip install librosa
    OMP_NUM_THREADS=1 python benchmarks/media_speed.py            about a minute of one core

Both sides run in turn in one process; figures are medians. The loop decodes every frame of the clip to RGB with PyAV and keeps
eight; Braid seeks, decodes what it needs, and makes the frames 224 x 224. The clips are H.264: 10 s, 640 x 360, noise that moves.
The last row is a long clip that is cut short: what it costs, beside the limit that was set for it.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import av
import librosa
import numpy as np

from braid.errors import UserError
from braid.media import FrameLimits, read_frames
from braid.modalities import AudioModalityConfig
from braid.modalities.audio.spectrogram import WhisperConfig
from runs import report

RATE, SECONDS, PACE, WANTED = 16_000, 10, 25, 8
WIDTH, HEIGHT = 640, 360
KEYFRAMES = {"a keyframe each second": 25, "one keyframe in all": 250}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=7)
    times = parser.parse_args().times
    rows = [sound(times)]
    with tempfile.TemporaryDirectory() as folder:
        for what, every in KEYFRAMES.items():
            path = Path(folder) / "clip.mp4"
            write_clip(path, every)
            rows.append(
                [f"8 frames, {what}", *beside(partial(read_frames, str(path), number=WANTED), partial(every_frame, path), times)]
            )
        rows.append(limited(Path(folder) / "long.mkv"))
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    how = f"Medians of {times}, milliseconds; threads: {threads}; load of the machine at the end: {os.getloadavg()[0]:.1f}."
    report("media_speed", "Reading sound and clips", ["what", "Braid, ms", "peer, ms", "ratio"], rows, how)


def sound(times: int) -> list[Any]:
    """Whisper's log-mel frames of ten seconds of noise; both give the same, to 1e-5 of a logarithm."""
    samples = np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32) * 0.1
    modality = AudioModalityConfig(seconds=SECONDS, spectrogram=WhisperConfig()).build()

    def peer() -> np.ndarray:
        power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect")
        return np.asarray(np.log10(np.maximum(power, 1e-10)))

    ours = modality.prepare((samples, RATE)).frames
    theirs = np.maximum(peer(), peer().max() - 8).T[: len(ours)]
    assert np.abs(ours * 4 - 4 - theirs).max() < 1e-5
    return ["log-mel of 10 s", *beside(lambda: modality.prepare((samples, RATE)), peer, times)]


def write_clip(path: Path, every: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=PACE, options={"g": str(every), "keyint_min": str(every), "sc_threshold": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for place in range(SECONDS * PACE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, 2 * place, 1), format="rgb24")))
        container.mux(stream.encode(None))


def every_frame(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return frames[:: len(frames) // WANTED][:WANTED]


def limited(path: Path, seconds: float = 1.0) -> list[Any]:
    """A clip of one keyframe and two minutes, whose decoding may take a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=PACE, options={"g": "100000", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
        for place in range(120 * PACE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(frame, place, 0), format="rgb24")))
        container.mux(stream.encode(None))
    content = io.BytesIO(path.read_bytes()[:-2000]).getvalue()
    started = time.perf_counter()
    try:
        read_frames(content, limits=FrameLimits(decoding=seconds))
        said = "read"
    except UserError as error:
        said = str(error).partition(";")[0]
    return [f"a damaged clip of 2 min ({said})", 1000 * (time.perf_counter() - started), 1000 * seconds, "limit"]


def beside(ours: Callable[[], Any], peer: Callable[[], Any], times: int) -> list[Any]:
    """Both in turn: the medians in milliseconds, and how many times as fast the first is."""
    took: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(times + 1):
        for side, work in enumerate((ours, peer)):
            started = time.perf_counter()
            work()
            took[side].append(1000 * (time.perf_counter() - started))
    one, other = (median(side[1:]) for side in took.values())
    return [one, other, f"{other / one:.2f}"]


if __name__ == "__main__":
    main()
