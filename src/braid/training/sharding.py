"""A model whose parameters, gradients and optimizer state are shared out over processes: FSDP2 (arXiv:2304.11277).

Every block of a stack is a unit, gathered when it is needed and given back after it; what is in no stack is one more unit, there
from a step's beginning to its end. To gather is to meet: all processes must run the same modules in the same order, which
``aligned`` sees to.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from braid.collate import Collated
from braid.decoders.pretrained import PretrainedTextDecoder
from braid.layers.attention import DecoderBlock
from braid.model import Model
from braid.objectives import Objective
from braid.records import Batch, Sample
from braid.runtime.device import CPU
from braid.shapes import Float
from braid.training.optimizer import MovingAverage
from braid.training.parallel import Group

STACKS = (nn.ModuleList, nn.Sequential)


class Loss(nn.Module):
    """What is differentiated, as one module: an objective enters a model by more methods than ``forward``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, objective: Objective, batch: Batch, samples: Sequence[Sample]
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        return objective(self.model, batch, samples)


def sharded(model: Model, device: torch.device, group: Group) -> Loss:
    """The loss of a copy of ``model``, of whose parameters each process has its part; ``model`` itself is left without any."""
    loss = Loss(_taken(model))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")  # no block is written into by the next
    mesh = init_device_mesh(device.type, (group.size,))
    scalars = {parameter for parameter in loss.parameters() if parameter.ndim == 0}  # cannot be cut
    for unit in (*_units(loss.model), loss):
        fully_shard(unit, mesh=mesh, ignored_params=scalars)
        assert isinstance(unit, FSDPModule)
        unit.set_gradient_divide_factor(1.0)  # the sum: a process's loss is weighed by its share of the rows already
        unit.set_force_sum_reduction_for_comms(True)
    return loss


def _taken(model: Model) -> Model:
    """A copy with the parameters themselves."""
    values = [parameter.data for parameter in model.parameters()]
    hollow(model)
    copy = deepcopy(model)
    for parameter, value in zip(copy.parameters(), values, strict=True):
        parameter.data = value
    return copy


def hollow(model: nn.Module) -> None:
    """Leave the parameters without memory."""
    for parameter in model.parameters():
        parameter.data = parameter.data.new_empty(0)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost blocks of stacks: modules made of modules, one after another. What is used outside of its block's ``forward``
    is a unit of its own, before it."""
    if isinstance(module, PretrainedTextDecoder):  # its blocks hand keys on by a cache, and nobody hears when those go backward
        return
    for child in module.children():
        if isinstance(module, STACKS) and _is_block(child):
            if isinstance(child, DecoderBlock):
                yield child.cross_attention.key_value
            yield child
        else:
            yield from _units(child)


def _is_block(module: nn.Module) -> bool:
    container = isinstance(module, (*STACKS, nn.ModuleDict))
    return not container and any(module.children()) and any(parameter.ndim for parameter in module.parameters())


def aligned(part: Collated, group: Group) -> Collated:
    """The part with every input that any process has, so that all run the same encoders: one that its rows lack comes with values
    that no row uses. Without rows, another's part, to be counted as none; a part without rows where nobody has any."""
    if len(set(group.joined([(bool(part.samples), *sorted(part.batch.inputs))]))) == 1:
        return part
    others = [other for other in group.joined([part]) if other.samples]
    own = part if part.samples else replace(others[0], skipped=part.skipped)
    inputs = dict(own.batch.inputs)
    for name, given in (item for other in others for item in other.batch.inputs.items()):
        inputs.setdefault(name, replace(given, index=np.full(own.batch.size, -1)))
    return replace(own, batch=replace(own.batch, inputs=inputs))


def unshared(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that every process has whole: all of a model that is not shared out, else the scalars."""
    return [parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)]


def clip(parameters: Iterable[nn.Parameter], most: float) -> Float[Tensor, ""]:
    """Bound the norm of all gradients together; what it was."""
    norm = nn.utils.clip_grad_norm_(parameters, most or float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gathered(tensors: Mapping[str, Tensor], group: Group, device: torch.device = CPU) -> dict[str, Tensor]:
    """The whole tensors, for the first process alone; every process must ask."""
    result = {}
    for name, value in tensors.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if group.leads:
            result[name] = whole.to(device)
    return result


def placed(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor where ``like`` is: on its device, and of one that is shared out this process's part."""
    whole = whole.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None) if isinstance(like, DTensor) else whole


@contextmanager
def averaged(model: Model, trained: Model, average: MovingAverage, group: Group) -> Iterator[None]:
    """The averaged weights in ``model``, whole, while the first process evaluates and saves it; every process must ask."""
    if model is trained:
        with average.applied(model):
            yield
        return
    device = next(trained.parameters()).device
    weights = gathered({**dict(trained.named_parameters()), **average.values}, group, device)
    buffers = dict(trained.named_buffers())
    for name, parameter in model.named_parameters() if group.leads else ():
        parameter.data = weights.pop(name).detach()
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    yield
    hollow(model)
