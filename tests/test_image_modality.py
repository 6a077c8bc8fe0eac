"""Whatever people call a picture becomes the same kind of array, and what is none is told of in one sentence."""

import io
import re
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_of_pillow_becomes_rgb(mode: str) -> None:
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(np.full((6, 6), 65535, np.uint16)) if mode == "I;16" else Image.new(mode, (6, 6), 65535)
    elif mode in ("LA", "La"):
        image = Image.new("LA", (6, 6), (255, 255)).convert(mode)
    else:
        image = Image.new("RGBA" if mode == "RGBa" else "RGB", (6, 6), "white").convert(mode)
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
        (torch.rand(4, 4, 3, requires_grad=True), r"row 1: a Tensor that numpy cannot read \(.*\); give a numpy array"),
        (torch.rand(4, 4, 3).bfloat16(), r"row 1: a Tensor that numpy cannot read \(.*BFloat16\); give a numpy array"),
        (17, "row 1: expected an image .* found int"),
        ("https://example.org/a.png", "is a web address; download the image and give its path"),
        ("HTTPS://example.org/a.png", "is a web address; download the image and give its path"),
        ("data:image/png;base64,AAAA", "is a data URI; save the image to a file and give its path"),
        ("a\0.png", r"row 1: a\\0.png is no file name: it has a character 0; check the path"),
        ("d." * 150, r"row 1: (d\.){30}\.\.\. is longer than a file name can be; give the path of the image"),
        ("d" * 300, r"row 1: d{60}\.\.\. is base64; save the image to a file and give its path"),
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


def with_tag(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """A JPEG that is turned (orientation 6), 32 x 24 as stored, with one more EXIF tag."""
    far = len(value) > 4
    there = struct.pack("<I", 8 + 2 + 24 + 4) if far else value.ljust(4, b"\0")
    entries = sorted(
        [struct.pack("<HHIHH", 0x112, 3, 1, 6, 0), struct.pack("<HHI", tag, kind, count) + there], key=lambda e: e[:2]
    )
    body = struct.pack("<H", 2) + b"".join(entries) + b"\0\0\0\0" + (value if far else b"")
    file = io.BytesIO()
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + body
    Image.new("RGB", (32, 24), "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "tag",
    [
        (0x11A, 10, 1, struct.pack("<ii", -1, 0)),  # XResolution as -1/0
        (0x10F, 5, 1, struct.pack("<II", 1, 2)),  # Make as a fraction
        (0x11A, 7, 8, b"abcdefgh"),
        (0x128, 11, 1, struct.pack("<f", 1.5)),
    ],
)
def test_a_turned_photo_is_upright_whatever_its_other_tags_are(tag: tuple[int, int, int, bytes]) -> None:
    assert ImageModalityConfig(size=32).build().decoded(with_tag(*tag)).size == (24, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(orientation: int) -> None:
    array = np.arange(6 * 4, dtype=np.uint8).reshape(6, 4) * 10
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    assert np.array_equal(np.asarray(ImageModalityConfig(size=8).build().decoded(file.getvalue())), np.asarray(expected))


@pytest.mark.parametrize("mode", ["I", "F"])
@pytest.mark.parametrize("most", [1.0, 255.0, 65535.0])
def test_deep_grey_values_are_scaled_by_their_range(mode: str, most: float, tmp_path: Path) -> None:
    if (mode, most) == ("I", 1.0):
        return
    ramp = np.linspace(0, most, 256, dtype=np.float32).reshape(16, 16)
    Image.fromarray(ramp.astype(np.int32) if mode == "I" else ramp).save(tmp_path / "ramp.tif")
    seen = np.asarray(ImageModalityConfig(size=16).build().decoded(str(tmp_path / "ramp.tif")))
    assert seen[..., 0].ravel().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([[0.0, np.nan]], np.float32),
            "holds values that are not numbers (NaN or infinite); save it with 8 bits a channel",
        ),
        (np.array([[-1, 5]], np.int32), "its values go from -1 to 5; 0..1, 0..255 and 0..65535 are read, so save it"),
        (
            np.array([[0, 1 << 20]], np.int32),
            "its values go from 0 to 1.04858e+06; 0..1, 0..255 and 0..65535 are read, so save it",
        ),
    ],
)
def test_values_of_another_range_are_refused(values: np.ndarray, message: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(UserError, match=re.escape(message)):
        prepare(str(tmp_path / "deep.tif"))


def test_every_byte_of_an_avif_may_be_wrong() -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "AVIF")
    whole, read = file.getvalue(), ImageModalityConfig(size=32).build().decoded
    for place in range(0, len(whole), 3):
        with suppress(UserError):
            read(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])


def test_no_format_is_read_that_runs_programs_or_holds_other_files() -> None:
    for kind in ("EPS", "PCX", "TGA", "ICO"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind)
        with pytest.raises(UserError, match="is not a readable image; save it as PNG or JPEG"):
            prepare(file.getvalue())


def test_a_file_of_two_formats_is_the_one_that_is_read() -> None:
    """An IM of 64 x 64 pixels that begins as a TIFF of 8 x 8: a limit that looks at one must not let the other through."""
    head = b": x\nImage type: 0 1 image\nImage size (x*y): 64*64\nFile size (no of images): 1\n\x1a"
    body = (head + bytes(512 - 8 - len(head)) + bytes(8 * 64)).ljust(1085, b"\0")  # no place of it holds a line's end
    tags = ((256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    both = b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert ImageModalityConfig(size=32).build().decoded(both).size == (8, 8)


def test_too_much_text_is_not_called_damage() -> None:
    info, file = PngInfo(), io.BytesIO()
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    with pytest.raises(UserError, match="image holds too much text beside its pixels; save it again as PNG or JPEG"):
        prepare(file.getvalue())


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    assert prepare(whole).pixels.shape == (8, 8, 3)
    last = whole.rindex(b"\xff\xda")
    many = whole[:last] + whole[last:-2] * 100 + whole[-2:]
    with pytest.raises(UserError, match=r"image has 1\d\d scans; at most 64 are read, save it again as PNG or JPEG"):
        prepare(many)


def profile_of(kind: str) -> bytes:
    """An ICC profile: sRGB; sRGB whose red and blue are exchanged; grey values in proportion to light; or ink that is red."""
    if kind in ("grey", "ink"):
        white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)  # of D50, with 16 bits behind the point
        ramp, one = bytes(range(256)), 1 << 16
        corners = bytes([255, 128, 128]) + bytes([136, 208, 195]) * 15  # Lab of paper and of any ink
        table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, one)
        ink = table + 4 * ramp + corners + 3 * ramp
        curve = b"curv" + bytes(8)  # without points: a straight line
        space, connected, tag = (b"GRAY", b"XYZ ", (b"kTRC", curve)) if kind == "grey" else (b"CMYK", b"Lab ", (b"A2B0", ink))
        tags = [(b"wtpt", white), tag]
        places = [128 + 4 + 12 * len(tags) + sum(len(data) for _, data in tags[:number]) for number in range(len(tags))]
        table = b"".join(struct.pack(">4s2I", tag, place, len(data)) for (tag, data), place in zip(tags, places, strict=True))
        body = struct.pack(">I", len(tags)) + table + b"".join(data for _, data in tags)
        header = struct.pack(">2I", 128 + len(body), 0) + struct.pack(">I4s4s4s", 0x02100000, b"prtr", space, connected)
        return (header + bytes(12) + b"acsp").ljust(68, b"\0") + white[8:] + bytes(48) + body
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if kind == "exchanged":
        return profile.replace(b"rXYZ", b"_XYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"_XYZ", b"bXYZ", 1)
    return profile


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_colours_are_converted_from_their_profile(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "red.image"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(path, kind, icc_profile=profile_of("exchanged"))
    blue = [0, 0, 255]
    for value in (path, path.read_bytes(), Image.open(path)):
        assert np.allclose(prepare(value).pixels, blue, atol=2)
    assert np.allclose(np.asarray(Image.open(io.BytesIO(thumbnail(path, 16)))), blue, atol=2)
    resized, _ = ImageModalityConfig.encoded(path, "", 8)
    assert np.allclose(prepare(resized).pixels, blue, atol=2)
    coarse = ImageModalityConfig.corrupt(path, np.random.default_rng(0))
    assert np.allclose(prepare(coarse).pixels, blue, atol=2)  # converted once


def test_profiles_of_other_modes() -> None:
    half, exchanged = Image.new("RGBA", (8, 8), (255, 0, 0, 128)), profile_of("exchanged")
    half.info["icc_profile"] = exchanged
    assert np.allclose(prepare(half).pixels, [127, 127, 255], atol=2)
    few = Image.new("RGB", (8, 8), (255, 0, 0)).convert("P")
    few.info["icc_profile"] = exchanged
    assert np.allclose(prepare(few).pixels, [0, 0, 255], atol=2)
    for grey in (Image.new("L", (8, 8), 128), Image.new("LA", (8, 8), (128, 255))):
        grey.info["icc_profile"] = profile_of("grey")
        assert np.allclose(prepare(grey).pixels, 188, atol=1)  # half of the light, as sRGB writes it
    printed, file = Image.new("CMYK", (8, 8), (255, 0, 0, 0)), io.BytesIO()
    printed.save(file, "JPEG", icc_profile=profile_of("ink"))
    red, green, blue = prepare(file.getvalue()).pixels[0, 0]
    assert red > 220 and green < 60 and blue < 60
    assert (prepare(printed).pixels == [0, 255, 255]).all()


@pytest.mark.parametrize("profile", ["sRGB", "grey", "exchanged, cut short", "no profile"])
def test_a_profile_of_srgb_and_one_that_does_not_fit_change_nothing(profile: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    expected = prepare(image).pixels
    cut = {"exchanged, cut short": profile_of("exchanged")[:200], "no profile": b"colours"}
    image.info["icc_profile"] = cut[profile] if profile in cut else profile_of(profile)
    assert np.array_equal(prepare(image).pixels, expected)


def test_an_image_whose_file_is_closed(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as left:
        pass
    file = io.BytesIO((tmp_path / "a.png").read_bytes())
    beneath = Image.open(file)
    file.close()
    for image in (left, beneath):
        with pytest.raises(UserError, match=r"image is an image whose file was closed; call its load\(\) before"):
            prepare(image)
    with Image.open(tmp_path / "a.png") as loaded:
        loaded.load()
    assert (prepare(loaded).pixels == RED).all()
