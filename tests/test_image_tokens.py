"""Tokens of a picture: how they are drawn, those that say several things at once, and outlines apart from colours."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from braid.codecs.fsq import two_tone
from braid.datasets.scenes import Scenes
from braid.datasets.scenes.examples import generation_request
from braid.datasets.scenes.objects import INK, render
from braid.decoders import RasterDecoderConfig
from braid.encoders import ImageTokenEncoderConfig
from braid.errors import UserError
from braid.generation.images import ImageSamplingConfig, sample_tokens
from braid.layers.image_tokens import TokenHead, TokenVectors, digits
from braid.modalities import ImageModalityConfig, TokenGrid
from braid.model import Model
from braid.presets import tiny
from braid.records import Batch, BatchInput, Fused, Padded
from braid.runtime.torch import TorchCodec
from braid.training.features import _fingerprint
from variants import CODECS, SIZE, inputs, outputs

GRID = TokenGrid(2, 3, (4, 3, 2))
SIDE = 4


def painted(colours: Sequence[str]) -> Tensor:
    """Twelve scenes of a single object, each in all of the colours: [12, colours, 3, 64, 64], in -1..1."""
    world = Scenes(max_objects=1)
    scenes = [generation_request(world, "val", k).scene for k in range(12)]
    images = [render([replace(one.objects[0], colour=colour)], one.background, 64) for one in scenes for colour in colours]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.unflatten(0, (len(scenes), len(colours)))


def test_a_tokens_parts_are_its_digits_and_the_code_after_the_last_has_a_part_of_its_own() -> None:
    parts = [part.tolist() for part in digits(torch.arange(GRID.codes + 1), GRID)]
    message = [sum(digit * place for digit, place in zip(one, GRID.places, strict=True)) for one in zip(*parts, strict=True)]
    assert message == list(range(25)) and len(set(zip(*parts, strict=True))) == 25
    vectors = TokenVectors(GRID, 8)(torch.arange(25))
    assert vectors.shape == (25, 8) and len(torch.unique(vectors, dim=0)) == 25


@pytest.mark.parametrize("parts", [(24,), (4, 6), (4, 3, 2)])
def test_the_loss_by_parts_is_that_of_whole_tokens(parts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head, values, tokens = TokenHead(TokenGrid(2, 3, parts), 8), torch.randn(24, 8), torch.arange(24)
    logits = head(values)
    assert logits.shape == (24, 24)
    torch.testing.assert_close(head.losses(values, tokens, 0.0).mean(), F.cross_entropy(logits, tokens))


def test_a_shape_has_the_same_outline_in_every_colour_and_a_colour_the_same_tone_in_every_shape() -> None:
    pixels = painted(list(INK))
    outlines, tones = (part.unflatten(0, pixels.shape[:2]) for part in two_tone(pixels.flatten(0, 1), SIDE))
    assert float((outlines - outlines[:, :1]).abs().max()) < 0.25 and float((outlines < 1).float().mean()) > 0.02
    inks = torch.tensor(list(INK.values())).view(1, -1, 3, 1, 1) / 127.5 - 1
    paper = pixels[:, :, :, :1, :1]
    apart = torch.minimum((tones - inks).abs().amax(2), (tones - paper).abs().amax(2))
    assert float(apart.max()) < 0.02  # not the rim's, which is darker, nor a mixture with paper


def test_a_piece_of_one_tone_is_told_by_its_tone_and_one_of_two_by_the_darker() -> None:
    pixels = torch.ones(1, 3, 16, 16)
    pixels[:, :, 6:, :] = torch.tensor([0.5, -0.5, 0.0]).view(3, 1, 1)
    outline, tone = two_tone(pixels, SIDE)
    assert outline[0, 0, :, 0].tolist() == [1.0] * 4 + [0.0] * 2 + [1.0] * 10
    torch.testing.assert_close(tone[0, :, :, 0].T, torch.tensor([[1.0, 1, 1], *[[0.5, -0.5, 0]] * 3]))


class Wish:
    """The decode protocol, with the same logits at every place."""

    def __init__(self, shares: list[float]) -> None:
        self.logits = np.log(np.array(shares))

    def start(self, batch: Batch) -> Any:
        return {}

    def step(self, tokens: np.ndarray, state: Any) -> Any:
        return np.tile(self.logits, (len(tokens), 1, 1)), state

    def reorder(self, state: Any, parents: np.ndarray) -> Any:
        return state


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_k": 3, "top_p": 0.5}, [4 / 7, 3 / 7, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_are_likely(changes: dict[str, Any], expected: list[float]) -> None:
    grid = TokenGrid(32, 32, (4,))
    generated = sample_tokens(
        Wish([0.4, 0.3, 0.2, 0.1]), grid, Batch(("a", "b", "c"), {}), ImageSamplingConfig(guidance=1.0, **changes)
    )
    result = np.bincount(generated.ravel(), minlength=4) / generated.size
    assert np.abs(result - expected).max() < 0.03
    assert all((result == 0) == (np.array(expected) == 0))


READER = ImageTokenEncoderConfig(conv_depth=1, width=32, depth=1, heads=2, dropout=0.0)


def reading(encoder: ImageTokenEncoderConfig = READER, size: int = SIZE, codecs: tuple[str, ...] = ("image",)) -> Model:
    """A captioner that reads the tokens of a codec, in eval mode."""
    torch.manual_seed(0)
    config = replace(
        tiny(), encoders={**tiny().encoders, "image": encoder}, codecs=dict.fromkeys(codecs, CODECS["fsq of two tones"])
    )
    return config.build(inputs(), {**outputs(), "image": ImageModalityConfig(size=size).build()}).eval()


def test_an_encoder_of_tokens_sees_what_the_codec_tells_and_nothing_else() -> None:
    model = reading()
    codec, encoder = model.codec("image"), model.encoders["image"]
    assert not any(one.requires_grad for one in codec.parameters())  # type: ignore[attr-defined]
    assert not any(name.startswith("encoders.image.borrowed") for name in model.state_dict())
    pixels, mask = torch.rand(4, 3, SIZE, SIZE) * 2 - 1, torch.ones(4, SIZE, SIZE, dtype=torch.bool)
    tokens = codec.encode(pixels)
    hardly = pixels + 1e-4 * torch.randn_like(pixels)
    same = (codec.encode(hardly) == tokens).all(1)
    with torch.no_grad():
        result, again = (encoder(Padded(one, mask)) for one in (pixels, hardly))
    assert same.any() and torch.equal(result.values[same], again.values[same]) and not torch.equal(pixels, hardly)
    assert result.values.shape == (4, codec.grid.length // 4, 32) and result.extent.shape == (codec.grid.length // 4, 4)


@pytest.mark.parametrize(
    ("encoder", "size", "codecs", "fault"),
    [
        (READER, SIZE, (), "it reads the tokens of the codec 'image', which the model does not have; name a run of the task"),
        (READER, 64, ("image",), "reads the tokens of 'image', and the two are prepared differently; give inputs.image what"),
        (
            replace(READER, patch_size=3),
            SIZE,
            ("image",),
            "a grid of 4 x 4 tokens does not divide into patches of 3; change patch_size",
        ),
    ],
)
def test_tokens_that_cannot_be_read(encoder: ImageTokenEncoderConfig, size: int, codecs: tuple[str, ...], fault: str) -> None:
    with pytest.raises(UserError, match=f"encoders.image.*{re.escape(fault)}"):
        reading(encoder, size, codecs)


def test_features_that_are_kept_are_those_of_one_codec() -> None:
    model, modality = reading(), ImageModalityConfig(size=SIZE).build()
    encoder, before = model.encoders["image"], _fingerprint(model.encoders["image"], modality, "")
    assert _fingerprint(encoder, modality, "") == before
    with torch.no_grad():
        next(model.codec("image").parameters()).add_(1)
    assert _fingerprint(encoder, modality, "") != before


def test_some_pictures_are_read_in_training_as_the_codec_draws_them() -> None:
    """And drawn over so; in use none are."""
    torch.manual_seed(0)
    image = ImageTokenEncoderConfig(width=16, depth=1, heads=2, dropout=0.0, reconstruction_probability=0.5)
    over = RasterDecoderConfig(edits="image", width=16, depth=1, heads=2, dropout=0.0)
    config = replace(tiny(), encoders={"image": image}, decoders={"image": over}, codecs={"image": CODECS["fsq of two tones"]})
    model = config.build(inputs(), outputs())
    pixels = painted(["red"])[:, 0]
    pixels = F.interpolate(pixels, (SIZE, SIZE))
    every = torch.arange(len(pixels))
    given = Padded(pixels, torch.ones(len(pixels), SIZE, SIZE, dtype=torch.bool))
    batch = Batch(tuple(map(str, every)), {"image": BatchInput(given, every)}, {"image": given})
    codec = model.codec("image")
    once = codec.encode(pixels)
    files = TorchCodec(codec, torch.device("cpu"))
    modality: Any = outputs()["image"]
    png = modality.images(files.pixels(once.numpy()))
    again = torch.from_numpy(files.tokens(modality.pad([modality.prepare(one) for one in png]).values))
    assert not torch.equal(again, once)
    seen: list[Tensor] = []
    model.encoders["image"].register_forward_pre_hook(lambda _, given: seen.append(codec.encode(given[0].values)))

    def sources(fused: Fused) -> Tensor:
        return model.image_decoder("image").remember(fused)["memory.given"]

    read = sources(model.train()(batch))
    as_drawn = (read == again).all(1)
    assert torch.equal(read, torch.where(as_drawn[:, None], again, once)) and as_drawn.any() and not as_drawn.all()
    assert torch.equal(seen.pop(), read)
    assert torch.equal(sources(model.eval()(batch)), once) and torch.equal(seen.pop(), once)
