"""Clips that are damaged, unusual, or none."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bad.case import case
from braid.media import Clip
from braid.modalities import VideoModalityConfig
from clips import animation, clip, shades, sound, turned


def watch(value: Any, **settings: Any) -> str:
    prepared = VideoModalityConfig(frames=4, size=8, **settings).build().prepare(value)
    return f"works: frames of brightness {', '.join(str(round(float(one.mean()))) for one in prepared.pixels)}"


def saved(home: Path, name: str, content: bytes) -> Path:
    (home / name).write_bytes(content)
    return home / name


@case("video", "an MP4 that is cut short")
def _(home: Path) -> Any:
    content = clip()
    return watch(saved(home, "cut.mp4", content[: len(content) // 2]))


@case("video", "a WebM that is cut short: what is left is read")
def _(home: Path) -> Any:
    content = clip(40, codec="libvpx", container="webm")
    return watch(saved(home, "cut.webm", content[: len(content) * 2 // 3]))


@case("video", "an MP4 with zeros in its middle")
def _(home: Path) -> Any:
    content = bytearray(clip(codec="libx264", frames=[np.asarray(Image.effect_noise((64, 48), 90).convert("RGB"))] * 12))
    content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
    return watch(saved(home, "zeros.mp4", bytes(content)))


@case("video", "a file of zero bytes")
def _(home: Path) -> Any:
    return watch(saved(home, "empty.mp4", b""))


@case("video", "a text file named .mp4")
def _(home: Path) -> Any:
    return watch(saved(home, "notes.mp4", b"no video at all, only words"))


@case("video", "a web page named .mp4")
def _(home: Path) -> Any:
    return watch(saved(home, "page.mp4", b"<!DOCTYPE html><html><body>404</body></html>"))


@case("video", "a pointer of Git LFS named .mp4")
def _(home: Path) -> Any:
    return watch(saved(home, "pointer.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"))


@case("video", "a recording without images")
def _(home: Path) -> Any:
    return watch(saved(home, "speech.mp4", sound()))


@case("video", "a playlist that names another file")
def _(home: Path) -> Any:
    saved(home, "there.ts", clip(codec="libx264", container="mpegts"))
    return watch(saved(home, "list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nthere.ts\n#EXT-X-ENDLIST\n"))


@case("video", "a clip of one frame")
def _(home: Path) -> Any:
    return watch(saved(home, "one.mp4", clip(frames=[np.full((48, 64, 3), 90, np.uint8)])))


@case("video", "a photo where a clip should be")
def _(home: Path) -> Any:
    Image.new("RGB", (9, 9), (60, 60, 60)).save(home / "still.png")
    return watch(home / "still.png")


@case("video", "an animated GIF named .mp4")
def _(home: Path) -> Any:
    return watch(saved(home, "gif.mp4", animation("GIF", 8)))


@case("video", "a WebP that is cut short")
def _(home: Path) -> Any:
    content = animation("WEBP")
    return watch(saved(home, "cut.webp", content[: len(content) - 40]))


@case("video", "a clip whose frames last 0.1 and then 3 seconds")
def _(home: Path) -> Any:
    return watch(saved(home, "uneven.mp4", clip(4, times=[0, 0.1, 0.2, 3.2])))


@case("video", "a clip of a phone that was held upright")
def _(home: Path) -> Any:
    half = np.zeros((48, 64, 3), np.uint8)
    half[:, :32] = 255
    pixels = VideoModalityConfig(frames=1, size=8).build().prepare(turned(clip(frames=[half] * 2), 1)).pixels[0]
    return f"works: its upper half has brightness {round(float(pixels[:3].mean()), -1):g}, its lower half {pixels[5:].mean():.0f}"


@case("video", "10 bits a channel")
def _(home: Path) -> Any:
    return watch(saved(home, "deep.mkv", clip(codec="ffv1", container="matroska", pixels="yuv422p10le")))


@case("video", "a name without a suffix")
def _(home: Path) -> Any:
    return watch(saved(home, "clip", clip()))


@case("video", "a clip that is longer than seconds_limit")
def _(home: Path) -> Any:
    return watch(saved(home, "long.mp4", clip(60, rate=1)), seconds_limit=30.0)


@case("video", "a clip that takes longer than decoding_limit")
def _(home: Path) -> Any:
    from braid.media import FrameLimits, read_frames

    return read_frames(saved(home, "slow.mp4", clip()), limits=FrameLimits(decoding=0.0))


@case("video", "a GIF of 42 megapixels")
def _(home: Path) -> Any:
    Image.new("P", (7000, 6000)).save(home / "large.gif")
    return watch(home / "large.gif")


@case("video", "a part that begins after the end")
def _(home: Path) -> Any:
    return watch(Clip(str(saved(home, "short.mp4", clip())), 9.0))


@case("video", "a folder")
def _(home: Path) -> Any:
    (home / "clips").mkdir()
    return watch(home / "clips")


@case("video", "a named pipe")
def _(home: Path) -> Any:
    os.mkfifo(home / "camera.mp4")
    return watch(home / "camera.mp4")


@case("video", "a file that does not exist")
def _(home: Path) -> Any:
    return watch(home / "lost.mp4")


@case("video", "a web address")
def _(home: Path) -> Any:
    return watch("https://example.com/dog.mp4")


@case("video", "an array of floats")
def _(home: Path) -> Any:
    return watch(np.zeros((4, 8, 8, 3)))


@case("video", "an array without frames")
def _(home: Path) -> Any:
    return watch(np.zeros((0, 8, 8, 3), np.uint8))


@case("video", "a list of images of different sizes")
def _(home: Path) -> Any:
    return watch([Image.fromarray(one[: 20 + 9 * k]) for k, one in enumerate(shades(3))])


@case("video", "a number")
def _(home: Path) -> Any:
    return watch(7)
