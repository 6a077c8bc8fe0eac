"""Image editing: the source is read at each place, may be copied, and may be shown in place of what was generated."""

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
from test_image_generation import CPU, OUT, batch_of, built, config_of, rows, tokens_of
from variants import IMAGE_DECODERS, SIZE, inputs

OVER: Any = IMAGE_DECODERS["raster that edits"]


def test_a_token_of_the_source_may_be_copied() -> None:
    """A gate that always copies gives the source, and nothing without one; the loss is that of the probabilities sampled from."""
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


def test_an_edit_reads_the_source_at_each_place() -> None:
    model, batch = built(config_of(OVER)), to_tensors(batch_of(rows()), CPU)
    with torch.no_grad():
        fused = model(batch)
        image = batch.inputs["image"]
        state, shown = model.image_decoder(OUT).start(fused), image.distinct.values[image.index]
        assert torch.equal(state["memory.given"], model.codec(OUT).encode(shown))
        under = state["memory.under"]
        turned = Padded(image.distinct.values.flip(2), image.distinct.mask)
        moved = replace(fused, given={"image": replace(image, distinct=turned)})
        assert not torch.allclose(model.image_decoder(OUT).start(moved)["memory.under"], under)
        lost = replace(batch, inputs={**batch.inputs, "image": replace(image, index=image.index.where(image.index != 0, -1))})
        without = model.image_decoder(OUT).start(model(lost))["memory.under"]
    gone = image.index == 0
    assert not without[gone].any() and torch.equal(without[~gone], under[~gone])


@pytest.mark.parametrize(
    ("edits", "size", "fault"),
    [
        ("picture", SIZE, "decoders.image: edits is 'picture', which is not an input; choose from image, prompt"),
        (
            "image",
            64,
            "decoders.image: it edits 'image', and the two are prepared differently; give inputs.image what outputs.image",
        ),
    ],
)
def test_an_image_that_cannot_be_edited_is_a_clear_error(edits: str, size: int, fault: str) -> None:
    decoder: Any = replace(OVER, edits=edits)  # type: ignore[call-arg]
    with pytest.raises(UserError, match=re.escape(fault)):
        config_of(decoder).build(inputs(), {OUT: ImageModalityConfig(size=size).build()})


def test_source_forcing_shows_the_source_in_place_of_what_was_generated() -> None:
    """Only the source and h then tell a token. A row without a source does not change, nor does evaluation."""
    first, *others = rows()
    batch = to_tensors(batch_of((replace(first, inputs={"prompt": first.inputs["prompt"]}), *others)), CPU)

    def loss(share: float, training: bool) -> torch.Tensor:
        model = built(config_of(replace(OVER, source_forcing_probability=share))).train(training)
        return model.losses(batch, [OUT])[OUT]

    plain = built(config_of(OVER))
    target = plain.codec(OUT).encode(batch.targets[OUT].values)
    decoder = plain.image_decoder(OUT)
    given = decoder.start(plain(batch))["memory.given"]
    shown = torch.where(given < plain.codec(OUT).grid.codes, given, target)
    logits = decoder.logits(plain(batch), F.pad(shown[:, :-1], (1, 0), value=plain.codec(OUT).grid.codes).unsqueeze(1))
    torch.testing.assert_close(loss(1.0, True), F.cross_entropy(logits.flatten(0, 2), target.flatten()))
    assert torch.equal(loss(1.0, False), loss(0.0, True)) and not torch.equal(loss(1.0, True), loss(0.0, True))
    assert len({loss(share, True).item() for share in (0.0, 0.5, 1.0)}) == 3


def test_source_forcing_needs_an_image_to_edit() -> None:
    with pytest.raises(UserError, match="source_forcing_probability is set, and edits is not"):
        replace(OVER, edits="", source_forcing_probability=0.5)
