"""Whatever people call a picture becomes the same kind of array, and what is none is told of in one sentence."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braid.errors import UserError
from braid.modalities import Augmentation, ImageModalityConfig, image_files, thumbnail

RED = (250, 10, 10)


def prepare(value: object, size: int = 8, resize: str = "squash", augmentation: Augmentation | None = None, **options: object):
    return ImageModalityConfig(size=size, resize=resize, augmentation=augmentation).build().prepare(value, **options)  # type: ignore[arg-type]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_path_bytes_picture_and_array_agree(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    expected = prepare(array).pixels
    for value in (tmp_path / "a.png", str(tmp_path / "a.png"), png(image), image, array.astype(np.float64) / 255):
        assert np.array_equal(prepare(value).pixels, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_of_pillow_becomes_rgb(mode: str) -> None:
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(np.full((6, 6), 65535, np.uint16)) if mode == "I;16" else Image.new(mode, (6, 6), 65535)
    else:
        image = Image.new("RGBA" if mode == "LA" else "RGB", (6, 6), "white").convert(mode)
    assert (prepare(image).pixels == 255).all()


def test_transparent_is_white_and_exif_is_upright(tmp_path: Path) -> None:
    assert (prepare(Image.new("RGBA", (4, 4), (0, 0, 0, 0))).pixels == 255).all()
    half = np.zeros((4, 8, 3), np.uint8)
    half[:, 4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    Image.fromarray(half).save(tmp_path / "turned.png", exif=exif)
    upright = prepare(tmp_path / "turned.png", size=8).pixels
    assert upright[0].mean() < 50 and upright[-1].mean() > 200


def test_three_ways_to_make_a_picture_square() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 13:27] = RED
    assert prepare(wide, resize="crop").pixels.mean(axis=(0, 1)).tolist() == list(RED)
    padded = prepare(wide, resize="pad")
    assert padded.mask.sum() == 2 * 8 and padded.mask[3:5].all() and not padded.pixels[~padded.mask].any()
    assert prepare(wide).mask.all()


def test_pad_normalises_and_masks() -> None:
    modality = ImageModalityConfig(size=8, resize="pad").build()
    padded = modality.pad([modality.prepare(np.full((4, 8, 3), 255, np.uint8))])
    assert padded.values.shape == (1, 3, 8, 8) and padded.values.dtype == np.float32
    assert set(np.unique(padded.values)) == {0.0, 1.0}


def test_images_are_smaller_in_training_alone() -> None:
    array = np.zeros((20, 20, 3), np.uint8)
    smaller = Augmentation(scale=0.75)
    assert prepare(array, augmentation=smaller, rng=np.random.default_rng(0)).pixels.shape == (6, 6, 3)
    assert prepare(array, augmentation=smaller).pixels.shape == (8, 8, 3)
    with pytest.raises(UserError, match="scale is 0.0; it must be above 0 and at most 1"):
        Augmentation(scale=0.0)


def test_augmentation_is_a_function_of_its_seed() -> None:
    array = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    augmentation = Augmentation(brightness=0.2, contrast=0.2, colour=0.2)

    def changed(seed: int) -> np.ndarray:
        return prepare(array, augmentation=augmentation, rng=np.random.default_rng(seed)).pixels

    assert np.array_equal(changed(3), changed(3))
    assert not np.array_equal(changed(3), changed(4))
    mirrored = prepare(array, augmentation=Augmentation(1.0, (1.0, 1.0)), rng=np.random.default_rng(0)).pixels
    assert np.array_equal(mirrored[:, ::-1], prepare(array).pixels)


def test_damaged_files_are_told_of(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = png(Image.fromarray(noise))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    cases = {
        "cut.png": "is damaged or cut short",
        "text.png": "is not a readable image; save it as PNG or JPEG",
        "empty.png": "is not a readable image; save it as PNG or JPEG",
        "none.png": "does not exist; check the path",
    }
    for name, message in cases.items():
        with pytest.raises(UserError) as caught:
            prepare(tmp_path / name, source="rows.csv, row 3")
        assert str(caught.value).startswith(f"rows.csv, row 3: {tmp_path / name} {message}")


def test_a_giant_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 6_000)).save(tmp_path / "giant.png")
    with pytest.raises(UserError, match="giant.png is 20000 x 6000; at most 100 megapixels are read, make it smaller"):
        prepare(tmp_path / "giant.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "titan.png")
    with pytest.raises(UserError, match="titan.png has more than 100 megapixels; make it smaller"):
        prepare(tmp_path / "titan.png")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"an array must be \[height, width, 3\]; this one is \[3, 8, 8\]"),
        (np.full((4, 4, 3), np.nan), "an array of floats must lie in 0..1, without NaN"),
        (np.full((4, 4, 3), 300), "an array must be uint8, uint16, or float in 0..1; this one is int64"),
        (17, "row 1: expected an image .* found int"),
        ("https://example.org/a.png", "is a web address; download the image and give its path"),
    ],
)
def test_wrong_values_are_told_of(value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(value, source="row 1")


def test_files_patterns_and_folders(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep/c.PNG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    a, b, c = (tmp_path / name for name in ("a.png", "b.png", "deep/c.PNG"))
    assert image_files([tmp_path]) == [str(a), str(b), str(c)]
    assert image_files([b, tmp_path / "*.png", tmp_path / "missing.png"]) == [str(b), str(a), str(tmp_path / "missing.png")]
    (tmp_path / "odd[1].png").write_bytes(b"")
    assert image_files([tmp_path / "odd[1].png"]) == [str(tmp_path / "odd[1].png")]
    with pytest.raises(UserError, match="no image there"):
        image_files([tmp_path / "*.gif"])


def test_a_thumbnail_keeps_the_proportions_and_the_caller_s_picture(tmp_path: Path) -> None:
    image = Image.new("RGBA", (300, 100), (0, 0, 0, 0))
    with Image.open(io.BytesIO(thumbnail(image, 60))) as small:
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (60, 20))
        assert min(small.getpixel((30, 10))) > 250  # transparent is white
    assert image.size == (300, 100)
    with Image.open(io.BytesIO(thumbnail(np.zeros((8, 4, 3), np.uint8), 60))) as small:
        assert small.size == (4, 8)
    with pytest.raises(UserError, match="gone.png does not exist; check the path"):
        thumbnail(tmp_path / "gone.png", 60)
