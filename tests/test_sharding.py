"""A model that is shared out (FSDP2) learns what it would in one piece, whatever it is made of."""

from collections.abc import Iterator

import pytest
import torch
from torch import distributed

import test_image_generation
import variants
from braid.decoders import ImageDecoderConfig
from braid.model import Model, ModelConfig
from braid.objectives import LikelihoodConfig
from braid.presets import tiny
from braid.records import Batch
from braid.runtime.device import CPU
from braid.runtime.torch import to_tensors
from braid.tasks import ImageGeneration, Reconstruction, Task, VisualQuestionAnswering
from braid.training.parallel import Group, Loss, gathered, sharded


@pytest.fixture(scope="module", autouse=True)
def process() -> Iterator[None]:
    """One process, which gathers and gives back as one of many does."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def learned(loss: Loss, task: Task, batch: Batch) -> dict[str, torch.Tensor]:
    """The gradients of two passes, the second of which meets the parameters as the first left them."""
    objective = LikelihoodConfig(label_smoothing=0.1).build(task, None, ())
    for _ in range(2):
        torch.manual_seed(1)
        loss.train()(objective, batch, ())[0].backward()
    return {name: p.grad for name, p in loss.model.named_parameters() if p.grad is not None}


def check(model: Model, again: Model, task: Task, batch: Batch) -> None:
    expected = learned(Loss(model), task, batch)
    shared = sharded(again, CPU, Group())
    result = gathered(learned(shared, task, batch), Group())
    assert result.keys() == expected.keys() and expected
    assert all(torch.allclose(result[name], value, atol=1e-6) for name, value in expected.items())
    own = gathered(shared.model.state_dict(), Group())
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())


def kinds() -> dict[str, ModelConfig]:
    """The first variant of each kind of part."""
    base, result = tiny(), {}
    for name, config in variants.variants().items():
        parts = [*config.encoders.items(), ("fusion", config.fusion), *config.decoders.items()]
        own = [part for role, part in parts if part not in (*base.encoders.values(), base.fusion, *base.decoders.values())]
        result.setdefault(own[0].kind if own else "tiny", (name, config))
    return dict(result.values())


@pytest.mark.parametrize("config", kinds().values(), ids=kinds())
def test_every_kind_of_part_has_the_gradients_of_one_piece(config: ModelConfig) -> None:
    batch = to_tensors(variants.collator()(variants.samples(), strict=True).batch, CPU)
    check(variants.build(config), variants.build(config), VisualQuestionAnswering(), batch)


@pytest.mark.parametrize("decoder", [config for name, config in variants.IMAGE_DECODERS.items() if " " in name])
def test_so_has_what_draws(decoder: ImageDecoderConfig) -> None:
    batch = to_tensors(test_image_generation.batch_of(test_image_generation.rows()[:2]), CPU)
    models = [test_image_generation.built(test_image_generation.config_of(decoder)) for _ in range(2)]
    check(models[0], models[1], ImageGeneration(), batch)


def test_so_has_a_codec() -> None:
    batch = to_tensors(test_image_generation.batch_of(test_image_generation.rows()[:2]), CPU)
    config = ModelConfig(codecs={test_image_generation.OUT: variants.CODECS["fsq of two tones"]})
    check(test_image_generation.built(config), test_image_generation.built(config), Reconstruction(), batch)
