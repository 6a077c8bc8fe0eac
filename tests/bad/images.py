"""Pictures that are damaged, unusual, or none."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bad.case import case, command
from braid.modalities import ImageModalityConfig, image_files

NOBODY = 65534


def look(image: Any) -> str:
    prepared = ImageModalityConfig(size=8).build().prepare(image)
    red, green, blue = (round(value) for value in prepared.pixels.mean(axis=(0, 1)).tolist())
    return f"works: its mean colour is {red}, {green}, {blue}"


def saved(home: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(home / name, **options)
    return home / name


@case("image", "a PNG that is cut short")
def _(home: Path) -> Any:
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    return look(home / "cut.png")


@case("image", "a JPEG that is cut short")
def _(home: Path) -> Any:
    (home / "cut.jpg").write_bytes((home / "photo.jpg").read_bytes()[:1500])
    return look(home / "cut.jpg")


@case("image", "a file of zero bytes")
def _(home: Path) -> Any:
    (home / "empty.png").write_bytes(b"")
    return look(home / "empty.png")


@case("image", "a text file named .jpg")
def _(home: Path) -> Any:
    (home / "notes.jpg").write_text("not a picture")
    return look(home / "notes.jpg")


@case("image", "a PDF")
def _(home: Path) -> Any:
    (home / "paper.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n")
    return look(home / "paper.pdf")


@case("image", "a PNG named .jpg")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (9, 9), (200, 100, 50)), "png.jpg", format="PNG"))


@case("image", "16 bits a pixel")
def _(home: Path) -> Any:
    return look(saved(home, Image.fromarray(np.full((9, 9), 40000, np.uint16)), "deep.png"))


@case("image", "32-bit floats from 0 to 1")
def _(home: Path) -> Any:
    return look(saved(home, Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "floats.tif"))


@case("image", "32-bit floats with one NaN")
def _(home: Path) -> Any:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[3, 3] = np.nan
    return look(saved(home, Image.fromarray(values), "nan.tif"))


@case("image", "32-bit integers up to a million")
def _(home: Path) -> Any:
    return look(saved(home, Image.fromarray(np.full((8, 8), 1_000_000, np.int32)), "counts.tif"))


@case("image", "an EPS drawing named .jpg")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (9, 9)), "drawing.jpg", format="EPS"))


@case("image", "two megabytes of text beside the pixels of a PNG")
def _(home: Path) -> Any:
    info = PngInfo()
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    return look(saved(home, Image.new("RGB", (9, 9)), "workflow.png", pnginfo=info))


@case("image", "a JPEG of a thousand scans")
def _(home: Path) -> Any:
    whole = saved(home, Image.effect_noise((64, 64), 80), "scans.jpg", progressive=True).read_bytes()
    last = whole.rindex(b"\xff\xda")
    (home / "scans.jpg").write_bytes(whole[:last] + whole[last:-2] * 1000 + whole[-2:])
    return look(home / "scans.jpg")


@case("image", "a path with a character 0")
def _(home: Path) -> Any:
    return look("a\0b.jpg")


@case("image", "a palette with a transparent colour")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("P", (9, 9), 0), "palette.png", transparency=0))


@case("image", "half transparent")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGBA", (9, 9), (0, 0, 0, 128)), "glass.png"))


@case("image", "CMYK, from a print shop")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "print.jpg"))


@case("image", "an animation: its first frame")
def _(home: Path) -> Any:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    return look(saved(home, frames[0], "film.gif", save_all=True, append_images=frames[1:]))


@case("image", "turned by EXIF: upright")
def _(home: Path) -> Any:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(home, Image.new("RGB", (20, 10), "red"), "turned.jpg", exif=exif)
    prepared = ImageModalityConfig(size=8, resize="pad").build().prepare(turned)
    return f"works: it is {prepared.mask.any(0).sum()} wide and {prepared.mask.any(1).sum()} high"


@case("image", "1 x 1 pixel")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (1, 1), "red"), "dot.png"))


@case("image", "1 x 10,000 pixels")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("RGB", (1, 10_000), "red"), "thread.png"))


@case("image", "120 megapixels")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("1", (12_000, 10_000)), "giant.png"))


@case("image", "a decompression bomb: 900 megapixels in 110 kB")
def _(home: Path) -> Any:
    return look(saved(home, Image.new("1", (30_000, 30_000)), "bomb.png"))


@case("image", "a folder")
def _(home: Path) -> Any:
    return look(home / "model")


@case("image", "a link that leads back to itself")
def _(home: Path) -> Any:
    (home / "loop.png").symlink_to(home / "loop.png")
    return look(home / "loop.png")


@case("image", "a link to a file that is gone")
def _(home: Path) -> Any:
    (home / "link.png").symlink_to(home / "gone.png")
    return look(home / "link.png")


@case("image", "a file without read permission")
def _(home: Path) -> Any:
    shutil.copy(home / "photo.png", home / "secret.png")
    os.chmod(home / "secret.png", 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)  # root may read everything
    try:
        return look(home / "secret.png")
    finally:
        os.seteuid(user)


@case("image", "a pipe")
def _(home: Path) -> Any:
    os.mkfifo(home / "pipe.png")
    return look(home / "pipe.png")


@case("image", "a file that is missing")
def _(home: Path) -> Any:
    return look(home / "gone.png")


@case("image", "a web address")
def _(home: Path) -> Any:
    return look("https://example.org/dog.jpg")


@case("image", "an array with NaN")
def _(home: Path) -> Any:
    return look(np.full((4, 4, 3), np.nan))


@case("image", "an array of floats up to 255")
def _(home: Path) -> Any:
    return look(np.full((4, 4, 3), 255.0))


@case("image", "an array [3, height, width]")
def _(home: Path) -> Any:
    return look(np.zeros((3, 8, 8), np.uint8))


@case("image", "an array without pixels")
def _(home: Path) -> Any:
    return look(np.zeros((0, 4, 3), np.uint8))


@case("image", "a number")
def _(home: Path) -> Any:
    return look(17)


@case("image", "an open PIL image whose file is cut short")
def _(home: Path) -> Any:
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:3000])
    with Image.open(home / "cut.png") as image:
        return look(image)


@case("image", "a folder without images")
def _(home: Path) -> Any:
    (home / "none").mkdir()
    return image_files([home / "none"])


@case("image", "a pattern that matches nothing")
def _(home: Path) -> Any:
    return image_files([home / "*.webp"])


@case("image", "one bad image among good ones, captioned")
def _(home: Path) -> Any:
    (home / "0.png").write_bytes(b"")
    return command("caption", home / "0.png", home / "photo.png", "-m", home / "model")
