"""A picture drawn over another: what lies under a place is read there, may be taken as it is, or shown for what was drawn."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from braid.errors import UserError
from braid.modalities import ImageModalityConfig
from braid.records import Padded
from braid.runtime.torch import to_tensors
from test_pictures_out import CPU, OUT, batch_of, built, config_of, rows, tokens_of
from variants import IMAGE_DECODERS, SIZE, inputs

OVER: Any = IMAGE_DECODERS["raster over a picture"]


def test_what_lies_under_a_place_may_be_taken_as_it_is() -> None:
    """Surely taken, every token is that of the given picture; without one none is; the loss is of the chances drawn from."""
    first, *others = rows()
    batch = batch_of((replace(first, inputs={"prompt": first.inputs["prompt"]}), *others))
    model = built(config_of(OVER))
    decoder, given = model.decoders[OUT], to_tensors(batch, CPU)
    tokens = model.codec(OUT).encode(given.targets[OUT].values)
    with torch.no_grad():
        logits = decoder.logits(model(given), F.pad(tokens[:, :-1], (1, 0), value=model.codec(OUT).grid.codes).unsqueeze(1))
        expected = F.cross_entropy(logits.flatten(0, 2), tokens.flatten())
        torch.testing.assert_close(model.losses(given, [OUT])[OUT], expected)
        decoder.take.bias.fill_(1e3)
    of, taken = batch.inputs["image"].index, model.codec(OUT).encode(given.inputs["image"].distinct.values).numpy()
    generated, plain = (tokens_of(one, batch) for one in (model, built(config_of(OVER))))
    there = of >= 0
    assert there.any() and not there.all()
    assert np.array_equal(generated[there], taken[of[there]])
    assert np.array_equal(generated[~there], plain[~there])


def test_what_is_drawn_over_a_picture_reads_at_each_place_what_stands_there() -> None:
    model, batch = built(config_of(OVER)), to_tensors(batch_of(rows()), CPU)
    with torch.no_grad():
        fused = model(batch)
        image = batch.inputs["image"]
        given, shown = fused.tokens["image"], image.distinct.values[image.index]
        assert torch.equal(given.values, model.codec(OUT).encode(shown)) and given.mask.all()
        under = model.image_decoder(OUT).start(fused)["memory.under"]
        moved = replace(fused, tokens={"image": Padded(given.values.flip(1), given.mask)})
        assert not torch.allclose(model.image_decoder(OUT).start(moved)["memory.under"], under)
        lost = replace(batch, inputs={**batch.inputs, "image": replace(image, index=image.index.where(image.index != 0, -1))})
        without = model.image_decoder(OUT).start(model(lost))["memory.under"]
    gone = image.index == 0
    assert not without[gone].any() and torch.equal(without[~gone], under[~gone])


@pytest.mark.parametrize(
    ("over", "size", "fault"),
    [
        ("picture", SIZE, "decoders.image draws over 'picture', which is no input; choose from image, prompt"),
        (
            "image",
            64,
            "decoders.image draws over 'image', and the two are not prepared alike; give inputs.image what outputs.image",
        ),
    ],
)
def test_a_picture_that_cannot_be_drawn_over_is_a_clear_error(over: str, size: int, fault: str) -> None:
    decoder: Any = replace(OVER, over=over)  # type: ignore[call-arg]
    with pytest.raises(UserError, match=re.escape(fault)):
        config_of(decoder).build(inputs(), {OUT: ImageModalityConfig(size=size).build()})


def test_an_unaided_row_sees_the_given_picture_for_what_was_drawn_before() -> None:
    """Then only what lies under a place, and h, tell its token; a row without a picture, and use, are as ever."""
    first, *others = rows()
    batch = to_tensors(batch_of((replace(first, inputs={"prompt": first.inputs["prompt"]}), *others)), CPU)

    def loss(unaided: float, training: bool) -> torch.Tensor:
        model = built(config_of(replace(OVER, unaided=unaided))).train(training)
        return model.losses(batch, [OUT])[OUT]

    plain = built(config_of(OVER))
    target = plain.codec(OUT).encode(batch.targets[OUT].values)
    given = plain(batch).tokens["image"]
    shown = torch.where(given.mask.view(-1, 1), given.values, target)
    decoder = plain.decoders[OUT]
    logits = decoder.logits(plain(batch), F.pad(shown[:, :-1], (1, 0), value=plain.codec(OUT).grid.codes).unsqueeze(1))
    torch.testing.assert_close(loss(1.0, True), F.cross_entropy(logits.flatten(0, 2), target.flatten()))
    assert torch.equal(loss(1.0, False), loss(0.0, True)) and not torch.equal(loss(1.0, True), loss(0.0, True))
    assert len({loss(share, True).item() for share in (0.0, 0.5, 1.0)}) == 3


def test_unaided_needs_a_picture_to_be_drawn_over() -> None:
    with pytest.raises(UserError, match="unaided is set, and over is not"):
        replace(OVER, over="", unaided=0.5)
