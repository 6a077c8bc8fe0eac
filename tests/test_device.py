"""Where models compute: on no device is a tensor made that belongs on another."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import test_image_generation
import test_vector_outputs
from braid.api import load
from braid.errors import UserError
from braid.model import Model
from braid.records import Batch
from braid.runtime.torch import TorchRuntime, to_tensors
from test_vector_outputs import OUT
from variants import IMAGE_DECODERS, VECTOR_DECODERS, build, collator, samples, tokenizer, variants

ELSEWHERE = torch.device("meta")  # tensors without numbers, which refuse to meet those of the processor
# transformers asks for numbers, and EfficientNet whether there is autocast, which there is none of for such tensors
PARTLY = ("pretrained", "efficientnet")


def answer(model: Model, batch: Batch, output: str) -> torch.Tensor:
    """What comes before a loss, which picks the real words by their numbers."""
    fused = model(batch)
    if output == "text":
        return model.decoder(output).logits(fused, batch.targets[output].values)
    if output in model.codecs:
        image_decoder: Any = model.image_decoder(output)
        tokens = model.codec(output).encode(batch.targets[output].values)
        return (
            image_decoder.fill(tokens, image_decoder.start(fused))
            if hasattr(image_decoder, "fill")
            else image_decoder.logits(fused, tokens[:, None])
        )
    decoder: Any = model.decoders[output]
    return decoder(fused)


def writes(name: str) -> torch.Tensor:
    batch = to_tensors(collator()(samples(), strict=True).batch, ELSEWHERE)
    return answer(build(variants()[name]).to(ELSEWHERE), batch, "text")


def draws(name: str) -> torch.Tensor:
    model = test_image_generation.built(test_image_generation.config_of(IMAGE_DECODERS[name])).to(ELSEWHERE)
    return answer(model, to_tensors(test_image_generation.batch_of(test_image_generation.rows()), ELSEWHERE), "image")


def decides(name: str) -> torch.Tensor:
    part = VECTOR_DECODERS[name]
    batch = test_vector_outputs.batch_of(part, test_vector_outputs.rows(part))
    return answer(test_vector_outputs.built(part).to(ELSEWHERE), to_tensors(batch, ELSEWHERE), test_vector_outputs.OUT)


ANSWERS = {
    **{name: partial(writes, name) for name in variants()},
    **{f"draws {name}": partial(draws, name) for name in IMAGE_DECODERS},
    **{f"decides {name}": partial(decides, name) for name in VECTOR_DECODERS},
}
ANSWERS = {name: answered for name, answered in ANSWERS.items() if not any(part in name for part in PARTLY)}


@pytest.mark.parametrize("answered", ANSWERS.values(), ids=ANSWERS)
def test_a_model_computes_where_it_is_put(answered: Callable[[], torch.Tensor]) -> None:
    assert answered().device == ELSEWHERE


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gpu", "device is 'gpu'; choose auto, cpu, cuda, cuda:1 or mps"),
        ("cuda:9", "device is 'cuda:9', and torch"),
        ("cpu:1", "device is 'cpu:1', and torch sees 1 of this kind"),
    ],
)
def test_a_device_that_is_not_there_is_a_clear_error(name: str, fault: str, captioner: Path) -> None:
    with pytest.raises(UserError) as error:
        load(captioner, device=name)
    assert str(error.value).startswith(fault)
    with pytest.raises(UserError, match="the onnx runtime computes on the processor, not on"):
        load("small", runtime="onnx", device="cuda")
    with pytest.raises(UserError, match="hf:any runs on the processor only, not on 'cuda'; leave the device out"):
        load("hf:any", device="cuda")
    with pytest.raises(UserError, match="device is"):  # a GPU that is named is not passed over for graphs
        load("small", device=name)


def scores(runtime: TorchRuntime, batch: Batch, output: str) -> np.ndarray:
    """What a decoder gives first: logits of the first word or token, of every token, or of labels."""
    if output == "text":
        decoder: Any = runtime.decoder(output)
        first = np.full((batch.size, 1), decoder.special.bos)
    elif output in runtime.model.codecs:
        decoder = runtime.image_decoder(output)
        grid = runtime.codec(output).grid
        if hasattr(decoder, "fill"):
            return decoder.fill(np.full((batch.size, grid.length), grid.codes), decoder.start(batch))
        first = np.full((batch.size, 1), grid.codes)
    else:
        return runtime.vector(output, batch)
    return decoder.step(first, decoder.start(batch))[0]


@pytest.mark.parametrize("name", ["decoder transformer", "decoder recurrent gru cross", *IMAGE_DECODERS, *VECTOR_DECODERS])
def test_in_bfloat16_an_answer_is_nearly_that_of_float32(name: str) -> None:
    if name in VECTOR_DECODERS:
        part = VECTOR_DECODERS[name]
        model, batch, output = (
            test_vector_outputs.built(part),
            test_vector_outputs.batch_of(part, test_vector_outputs.rows(part)),
            OUT,
        )
    elif name in IMAGE_DECODERS:
        model = test_image_generation.built(test_image_generation.config_of(IMAGE_DECODERS[name]))
        batch, output = test_image_generation.batch_of(test_image_generation.rows()), "image"
    else:
        model, batch, output = build(variants()[name]).eval(), collator()(samples(), strict=True).batch, "text"
    exact, rough = (scores(TorchRuntime(model, tokenizer(), low_precision=low), batch, output) for low in (False, True))
    assert rough.dtype == np.float32 and not np.array_equal(exact, rough)
    np.testing.assert_allclose(rough, exact, atol=0.05 * np.abs(exact).max())


def test_a_precision_that_is_not_there_is_a_clear_error(captioner: Path) -> None:
    for name, runtime, precision, fault in (
        (captioner, "", "float16", "there is no precision 'float16'; choose float32 or bfloat16"),
        ("small", "onnx", "bfloat16", "the onnx runtime computes in float32, or in 8 bit"),
        ("hf:any", "", "bfloat16", "hf:any runs in float32 only; leave the precision out"),
    ):
        with pytest.raises(UserError, match=fault):
            load(name, runtime, precision=precision)
    assert isinstance(load("small", precision="bfloat16").runtime, TorchRuntime)
