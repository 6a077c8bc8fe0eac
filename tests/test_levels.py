"""Levels (several depths of a network and the colours of an image) and bags of n-grams."""

import pytest
import torch
from PIL import Image, ImageDraw

from braid.encoders import MobileNetEncoder, MobileNetEncoderConfig, NgramTextEncoderConfig
from braid.errors import UserError
from braid.layers.levels import LevelsConfig
from braid.modalities import ImageModalityConfig, TextModalityConfig
from braid.records import Padded
from test_encoders import reading
from variants import tokenizer

TEXT = TextModalityConfig(max_length=32).build(tokenizer())


def of_colour(colour: str, size: int = 64) -> Padded:
    """A coloured disc on white, and its mask."""
    image = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(image).ellipse((size // 4, size // 4, 3 * size // 4, 3 * size // 4), fill=colour)
    modality = ImageModalityConfig(size=size).build()
    given = modality.pad([modality.prepare(image)])
    return Padded(torch.from_numpy(given.values), torch.from_numpy(given.mask))


def levels_of(cells: bool = False) -> MobileNetEncoder:
    torch.manual_seed(0)
    config = MobileNetEncoderConfig(width_multiplier=0.25, levels=LevelsConfig(width=8, cells=cells))
    return config.build(reading(ImageModalityConfig(size=64).build())).eval()


def test_levels_count_the_colours_of_what_is_not_background() -> None:
    encoder = levels_of()
    assert encoder.levels is not None
    sizes = encoder.levels.sizes
    with torch.no_grad():
        flat = encoder.describe(of_colour("#ff0000")).values.flatten(1)[:, : sum(sizes)]
    *_, hsv, rgb = flat.split(sizes, 1)
    for histogram in (hsv, rgb):
        assert (histogram**2).sum() == pytest.approx(1, abs=1e-3)
    assert rgb.argmax() == 7 * 64  # all red, no green, no blue: the white around the disc hardly counts
    assert (rgb[0, 7 * 64] ** 2) > 0.8
    assert hsv.argmax() == 0 * 16 + 3 * 4 + 3  # hue 0, full saturation, full value


def test_levels_read_what_they_described_and_tell_colours_apart() -> None:
    encoder = levels_of(cells=True)
    whole, parts = encoder(of_colour("red")), encoder.read(encoder.describe(of_colour("red")))
    assert torch.equal(whole.values, parts.values) and whole.values.shape == (1, 5 + 4, 1280)
    assert whole.extent is not None and whole.extent[:5].tolist() == [[0, 0, 1, 1]] * 5
    other = encoder(of_colour("blue"))
    assert (whole.values[:, :5] - other.values[:, :5]).abs().mean() > 0.01


def test_levels_of_one_image_can_be_trained() -> None:
    encoder = levels_of().train()
    assert torch.isfinite(encoder(of_colour("green")).values).all()


def test_ngrams_depend_on_the_order_of_words_and_on_nothing_beyond_the_text() -> None:
    torch.manual_seed(0)
    encoder = NgramTextEncoderConfig(longest=2, width=16, buckets=1000).build(reading(TEXT)).eval()

    def read(*tokens: int, padding: int = 0) -> torch.Tensor:
        values = torch.tensor([[*tokens, *[0] * padding]])
        return encoder(Padded(values, torch.tensor([[True] * len(tokens) + [False] * padding]))).values

    assert not torch.allclose(read(1, 5, 6, 2), read(1, 6, 5, 2))
    assert torch.allclose(read(1, 5, 6, 2), read(1, 5, 6, 2, padding=3), atol=1e-6)


def test_levels_need_one_scale() -> None:
    with pytest.raises(UserError) as error:
        MobileNetEncoderConfig(levels=LevelsConfig(), scales=(1.0, 2.0))
    assert str(error.value) == "levels needs one scale, and scales is [1.0, 2.0]; remove one of the two"
