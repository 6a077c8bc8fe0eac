"""A plan of what is to become of a given picture, which the decoders of the new picture and of its sentence both read."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from braid.bundle import Interface, read_bundle, write_bundle
from braid.collate import Collator
from braid.config import to_dict
from braid.decoders import DecoderConfig, RasterDecoderConfig, TransformerTextDecoderConfig
from braid.errors import UserError
from braid.generation import GenerationConfig
from braid.modalities import ImageModalityConfig, TextModalityConfig
from braid.model import Model, ModelConfig
from braid.presets import tiny
from braid.records import Batch, Sample
from braid.runtime.export import export_decoder
from braid.runtime.onnx import OnnxRuntime
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.training.config import OptimizerConfig
from braid.training.optimizer import build_optimizer
from conftest import shapes_unchecked
from variants import CODECS, PICTURE_DECODERS, SIZE, inputs, samples, tokenizer

CPU = torch.device("cpu")
PICTURE, SENTENCE = ImageModalityConfig(size=SIZE), TextModalityConfig(max_length=24)
BY_A_PLAN = PICTURE_DECODERS["raster by a plan"]
SAYS = TransformerTextDecoderConfig(plan="image", width=32, depth=1, heads=2, dropout=0.0)


def config_of(draws: DecoderConfig = BY_A_PLAN, says: DecoderConfig = SAYS) -> ModelConfig:
    return replace(tiny(), decoders={"image": draws, "text": says}, codecs={"image": CODECS["fsq of two tones"]})


def built(config: ModelConfig) -> Model:
    torch.manual_seed(0)
    return config.build(inputs(), {"image": PICTURE.build(), "text": SENTENCE.build(tokenizer())}).eval()


def rows() -> tuple[Sample, ...]:
    """Eight questions with their answers, each with the picture of another row to draw."""
    given = samples()
    return tuple(replace(one, targets={**one.targets, "image": given[-1 - row].inputs["image"]}) for row, one in enumerate(given))


def batch_of(chosen: tuple[Sample, ...]) -> Batch:
    outputs = {"image": PICTURE.build(), "text": SENTENCE.build(tokenizer())}
    return Collator(inputs(), outputs)(chosen, strict=True).batch


def without_pictures(batch: Batch) -> Batch:
    return replace(batch, inputs={name: given for name, given in batch.inputs.items() if name != "image"})


def test_a_plan_begins_as_without_one() -> None:
    """So that a model may learn to draw first, and to plan what it edits then."""
    planned, plain = built(config_of()), built(config_of(replace(BY_A_PLAN, plan=0), replace(SAYS, plan="")))  # type: ignore[call-arg]
    plain.load_state_dict({name: planned.state_dict()[name] for name in plain.state_dict()})
    batch = to_tensors(batch_of(rows()), CPU)
    tokens = plain.codec("image").encode(batch.targets["image"].values)[:, None]
    with torch.no_grad():
        one, other = (model.drawer("image").logits(model(batch), tokens) for model in (planned, plain))  # type: ignore[union-attr]
    torch.testing.assert_close(one, other)


def test_a_plan_alone_learns_what_each_place_becomes() -> None:
    """Trained by the loss of the decoder, whose own answers teach it nothing as long as it is not read."""
    model, batch = built(config_of()), to_tensors(batch_of(rows()), CPU)
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=3e-3))
    drawer: Any = model.drawer("image")
    tokens = model.codec("image").encode(batch.targets["image"].values)

    def right() -> float:
        with torch.no_grad():
            planned = model(batch).planned["image"]
            return float((drawer.embedding.logits(planned.values).argmax(-1) == tokens).float().mean())

    assert right() < 0.5
    for _ in range(120):
        optimizer.zero_grad()
        model.losses(batch, ["image"])["image"].backward()
        optimizer.step()
    assert right() > 0.9


def test_both_decoders_read_it_where_there_is_a_picture() -> None:
    model, batch = built(config_of()), to_tensors(batch_of(rows()), CPU)
    drawer: Any = model.drawer("image")
    torch.nn.init.normal_(drawer.plan.tell.weight)
    words = batch.targets["text"].values
    with torch.no_grad():
        fused = model(batch)
        other = replace(fused, planned={"image": replace(fused.planned["image"], values=fused.planned["image"].values.flip(0))})
        for read in (lambda one: drawer.start(one)["memory.under"], lambda one: model.decoder("text").logits(one, words)):
            assert (read(fused) - read(other)).abs().max() > 1e-3  # type: ignore[no-untyped-call]
        lost = model(without_pictures(batch))
        assert not lost.planned and not drawer.start(lost)["memory.under"].any()
        gone = replace(
            fused, planned={"image": replace(other.planned["image"], mask=torch.zeros_like(fused.planned["image"].mask))}
        )
        torch.testing.assert_close(
            model.decoder("text").logits(gone, words), model.decoder("text").logits(replace(fused, planned={}), words)
        )


def test_onnx_writes_torchs_sentences_by_it(tmp_path: Path) -> None:
    model, batch = built(config_of()), batch_of(rows())
    given = {"image": PICTURE, "prompt": TextModalityConfig(max_length=32)}
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    interface = Interface(given, {"image": PICTURE, "text": SENTENCE}, {})
    write_bundle(tmp_path / "model", interface, {"tokenizer": tokenizer()}, to_dict(model.config), weights)
    with shapes_unchecked():
        export_decoder(model, inputs(), "text", tmp_path / "model")
    ours, theirs = TorchRuntime(model, tokenizer()), OnnxRuntime(read_bundle(tmp_path / "model"))
    greedy = GenerationConfig(method="greedy", max_length=8)
    for one in (batch, without_pictures(batch)):
        said, written = (runtime.write("text", one, greedy) for runtime in (ours, theirs))
        assert [row.text for row in said] == [row.text for row in written]
        assert np.allclose([row.confidence for row in said], [row.confidence for row in written], atol=1e-4)


@pytest.mark.parametrize(
    ("decoders", "fault"),
    [
        (
            {"image": replace(BY_A_PLAN, plan=0), "text": SAYS},  # type: ignore[call-arg]
            "decoders.text reads the plan on 'image', and no decoder that draws over it has one; give that decoder plan",
        ),
        (
            {"image": BY_A_PLAN, "other": BY_A_PLAN},
            "decoders.other plans on 'image', and so does another decoder; leave plan out of one",
        ),
    ],
)
def test_a_plan_that_is_not_there_is_a_clear_error(decoders: dict[str, DecoderConfig], fault: str) -> None:
    codecs = {name: CODECS["fsq of two tones"] for name in decoders if name != "text"}
    outputs = {**dict.fromkeys(codecs, PICTURE.build()), "text": SENTENCE.build(tokenizer())}
    with pytest.raises(UserError, match=re.escape(fault)):
        replace(tiny(), decoders=decoders, codecs=codecs).build(inputs(), outputs)


def test_a_plan_needs_a_picture_to_be_made_for() -> None:
    with pytest.raises(UserError, match="plan needs over, the name of the input picture that is planned on"):
        RasterDecoderConfig(plan=2)
