"""Steps with room for a whole text or picture, of which CUDA graphs are recorded on a GPU, give what a growing cache gives."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from braid.generation import GenerationConfig
from braid.layers.attention import StepwiseTransformer
from braid.model import Model
from braid.records import Batch
from braid.runtime.device import AFTER, GraphedSteps
from braid.runtime.torch import TorchRuntime, to_tensors
from test_image_generation import batch_of, built, config_of, rows
from variants import DECODERS, IMAGE_DECODERS, build, collator, samples, tokenizer, variants

DEVICES = [torch.device(name) for name in ("cpu", *(["cuda"] if torch.cuda.is_available() else []))]
LENGTH, ROOM = 6, 9
STEPWISE = ["transformer", "raster", "raster that edits"]


def made(name: str) -> tuple[Model, Batch, Any]:
    if name in DECODERS:
        model = build(variants()[f"decoder {name}"])
        return model, collator()(samples(), strict=True).batch, model.decoder("text")
    model = built(config_of(IMAGE_DECODERS[name]))
    return model, batch_of(rows()), model.image_decoder("image")


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", STEPWISE)
@torch.inference_mode()
def test_steps_with_room_give_what_steps_of_a_growing_cache_give(name: str, device: torch.device) -> None:
    """Of two texts at a time in turn, as guidance takes them, and with beams that change places; more than a graph waits for."""
    model, batch, decoder = made(name)
    assert isinstance(decoder, StepwiseTransformer)
    fused = model.eval().to(device)(to_tensors(batch, device))
    texts = (fused, replace(fused, values=-fused.values))
    graphed, size = GraphedSteps(decoder, ROOM), fused.values.shape[0]
    tokens = torch.randint(3, 9, (2, size, 3, LENGTH), generator=torch.Generator().manual_seed(0)).to(device)
    parents = torch.tensor([[2, 0, 0]] * size, device=device)
    for _ in range(AFTER // LENGTH + 1):
        states = [[one.reorder(one.start(text), parents * 0) for text in texts] for one in (decoder, graphed)]
        for position in range(LENGTH):
            for text, generated in enumerate(tokens[..., position]):
                expected, states[0][text] = decoder.step(generated, states[0][text])
                result, states[1][text] = graphed.step(generated, states[1][text])
                torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
            states = [
                [one.reorder(state, parents) for state in both] for one, both in zip((decoder, graphed), states, strict=True)
            ]
    assert graphed.recorded == (device.type == "cuda")


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_runtime_writes_the_same_texts_by_graphs(device: torch.device) -> None:
    model, batch, _ = made("transformer")
    config = GenerationConfig(method="greedy", max_length=8, min_length=8)
    expected = [one.text for one in TorchRuntime(model, tokenizer()).write("text", batch, config)]
    runtime = TorchRuntime(model, tokenizer(), device)
    for _ in range(AFTER // 8 + 2):
        assert [one.text for one in runtime.write("text", batch, config)] == expected


@torch.inference_mode()
def test_a_step_leaves_the_state_that_it_was_given_as_it_was() -> None:
    """Whoever holds on to a state may go on from it twice."""
    for device in DEVICES:
        model, batch, decoder = made("transformer")
        graphed = GraphedSteps(decoder, ROOM)
        state = graphed.start(model.eval().to(device)(to_tensors(batch, device)))
        tokens = torch.full((len(batch.ids), 1), 3, device=device)
        first, state = graphed.step(tokens, state)
        answers = [graphed.step(tokens, state)[0] for _ in range(AFTER + 3)]
        for answer in answers:
            torch.testing.assert_close(answer, answers[0], atol=1e-5, rtol=1e-5)
        assert not torch.allclose(first, answers[0])
