"""Clips that tests make: frame k is grey with the value ``SHADE * k``, unless frames are given."""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

SHADE = 10


def shades(number: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    return [np.full((height, width, 3), SHADE * k % 256, np.uint8) for k in range(number)]


def clip(
    number: int = 12,
    rate: int = 10,
    codec: str = "mpeg4",
    container: str = "mp4",
    frames: Sequence[np.ndarray] | None = None,
    times: Sequence[float] | None = None,
    pixels: str = "yuv420p",
    **options: str,
) -> bytes:
    """A video file; frame k is shown at ``times[k]`` seconds, or evenly at ``rate`` frames a second."""
    given = shades(number) if frames is None else list(frames)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = given[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, one in enumerate(given):
            frame = av.VideoFrame.from_ndarray(one, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (times[k] if times else k / rate)), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def turned(content: bytes, quarters: int) -> bytes:
    """An MP4 that says it is to be shown turned clockwise."""
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
    matrix = struct.pack(">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    place = content.index(b"tkhd") + 44
    return content[:place] + matrix + content[place + len(matrix) :]


def animation(kind: str, number: int = 6, duration: int | Sequence[int] = 100) -> bytes:
    """An animated GIF, WEBP or PNG."""
    images = [Image.fromarray(one) for one in shades(number)]
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=duration, **options)
    return file.getvalue()


def sound() -> bytes:
    """A recording without images."""
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()
