"""Where models compute: on no device is a tensor made that belongs on another."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import test_pictures_out
import test_vector_outputs
from braid.api import load
from braid.errors import UserError
from braid.model import Model
from braid.records import Batch
from braid.runtime.torch import to_tensors
from variants import PICTURE_DECODERS, VECTOR_DECODERS, build, collator, samples, variants

ELSEWHERE = torch.device("meta")  # tensors without numbers, which refuse to meet those of the processor
# transformers asks for numbers, and EfficientNet whether there is autocast, which there is none of for such tensors
PARTLY = ("pretrained", "efficientnet")


def answer(model: Model, batch: Batch, output: str) -> torch.Tensor:
    """What comes before a loss, which picks the real words by their numbers."""
    fused = model(batch)
    if output == "text":
        return model.decoder(output).logits(fused, batch.targets[output].values)
    if output in model.codecs:
        drawer: Any = model.drawer(output)
        tokens = model.codec(output).encode(batch.targets[output].values)
        return drawer.fill(tokens, drawer.start(fused)) if hasattr(drawer, "fill") else drawer.logits(fused, tokens[:, None])
    decoder: Any = model.decoders[output]
    return decoder(fused)


def writes(name: str) -> torch.Tensor:
    batch = to_tensors(collator()(samples(), strict=True).batch, ELSEWHERE)
    return answer(build(variants()[name]).to(ELSEWHERE), batch, "text")


def draws(name: str) -> torch.Tensor:
    model = test_pictures_out.built(test_pictures_out.config_of(PICTURE_DECODERS[name])).to(ELSEWHERE)
    return answer(model, to_tensors(test_pictures_out.batch_of(test_pictures_out.rows()), ELSEWHERE), "image")


def decides(name: str) -> torch.Tensor:
    part = VECTOR_DECODERS[name]
    batch = test_vector_outputs.batch_of(part, test_vector_outputs.rows(part))
    return answer(test_vector_outputs.built(part).to(ELSEWHERE), to_tensors(batch, ELSEWHERE), test_vector_outputs.OUT)


ANSWERS = {
    **{name: partial(writes, name) for name in variants()},
    **{f"draws {name}": partial(draws, name) for name in PICTURE_DECODERS},
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
