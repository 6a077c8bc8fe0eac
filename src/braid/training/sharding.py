"""Sharding of parameters, gradients and optimizer state over processes: FSDP2 (arXiv:2304.11277).

Every block of a stack is a unit: its parameters are gathered before it runs and freed after. All other parameters form one more
unit, which stays gathered for the whole step. Gathering needs all processes, so all must run the same modules in the same order;
``aligned`` takes care of that.
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
    """An objective and its model as one module, because objectives call more methods of a model than ``forward``."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, objective: Objective, batch: Batch, samples: Sequence[Sample]
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        return objective(self.model, batch, samples)


def sharded(model: Model, device: torch.device, group: Group) -> Loss:
    """The loss of a sharded copy of ``model``; the parameters of ``model`` itself are emptied."""
    loss = Loss(_moved(model))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    warnings.filterwarnings(
        "ignore", "FSDP2-wrapped module .* returned a view tensor"
    )  # no block modifies the output of another in place
    mesh = init_device_mesh(device.type, (group.size,))
    scalars = {parameter for parameter in loss.parameters() if parameter.ndim == 0}  # cannot be sharded
    for unit in (*_units(loss.model), loss):
        fully_shard(unit, mesh=mesh, ignored_params=scalars)
        assert isinstance(unit, FSDPModule)
        unit.set_gradient_divide_factor(1.0)  # sum gradients: each loss is already weighted by its share of the rows
        unit.set_force_sum_reduction_for_comms(True)
    return loss


def _moved(model: Model) -> Model:
    """A copy of the model that owns the original parameters."""
    values = [parameter.data for parameter in model.parameters()]
    hollow(model)
    copy = deepcopy(model)
    for parameter, value in zip(copy.parameters(), values, strict=True):
        parameter.data = value
    return copy


def hollow(model: nn.Module) -> None:
    """Free the memory of the parameters."""
    for parameter in model.parameters():
        parameter.data = parameter.data.new_empty(0)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost blocks of stacks. A module that is used outside its block's ``forward`` is a unit of its own, before the
    block."""
    if isinstance(
        module, PretrainedTextDecoder
    ):  # its blocks pass keys on in a cache, which FSDP cannot see in the backward pass
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
    """Add the inputs that other processes have, so that all run the same encoders; no row uses the added values. A process
    without rows gets the batch of another process, whose loss then counts with weight 0."""
    if len(set(group.joined([(bool(part.samples), *sorted(part.batch.inputs))]))) == 1:
        return part
    others = [other for other in group.joined([part]) if other.samples]
    own = part if part.samples else replace(others[0], skipped=part.skipped)
    inputs = dict(own.batch.inputs)
    for name, given in (item for other in others for item in other.batch.inputs.items()):
        inputs.setdefault(name, replace(given, index=np.full(own.batch.size, -1)))
    return replace(own, batch=replace(own.batch, inputs=inputs))


def unshared(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not sharded: all of an unsharded model, or the scalars of a sharded one."""
    return [parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)]


def clip(parameters: Iterable[nn.Parameter], most: float) -> Float[Tensor, ""]:
    """Clip the global norm of the gradients to ``most`` (0: no limit), and return the norm before clipping."""
    norm = nn.utils.clip_grad_norm_(parameters, most or float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gathered(tensors: Mapping[str, Tensor], group: Group, device: torch.device = CPU) -> dict[str, Tensor]:
    """Whole tensors, in the first process only; all processes must call this."""
    result = {}
    for name, value in tensors.items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if group.leads:
            result[name] = whole.to(device)
    return result


def placed(whole: Tensor, like: Tensor) -> Tensor:
    """Move a whole tensor to the device of ``like``; if ``like`` is sharded, this process gets its shard."""
    whole = whole.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None) if isinstance(like, DTensor) else whole


@contextmanager
def averaged(model: Model, trained: Model, average: MovingAverage, group: Group) -> Iterator[None]:
    """Put the averaged weights, whole, into ``model`` while the first process evaluates and saves it; all processes must call
    this."""
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
