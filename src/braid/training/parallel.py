"""Processes that train one model together (``torchrun --standalone --nproc-per-node 2 -m braid train run.yaml``).

Each process takes its rows of every batch. Gradients are summed, so that all processes take the step that a single process
would take. Only the first process evaluates, writes files and prints.
"""

import atexit
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from braid.collate import Collated
from braid.decoders.pretrained import PretrainedTextDecoder
from braid.environment import place_in_group
from braid.errors import UserError
from braid.layers.attention import DecoderBlock
from braid.model import Model
from braid.objectives import Objective
from braid.records import Batch, Padded, Sample
from braid.runtime.device import CPU
from braid.shapes import Float
from braid.training.config import RunConfig
from braid.training.guard import Stopped
from braid.training.optimizer import MovingAverage

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

T = TypeVar("T")

PATIENCE = timedelta(hours=24)  # the others wait while the first evaluates
STACKS = (nn.ModuleList, nn.Sequential)


class Group:
    """The processes that torchrun started, seen from this one; a group of one without torchrun."""

    def __init__(self) -> None:
        self.size = place_in_group("WORLD_SIZE", 1)
        self.rank = place_in_group("RANK", 0) if self.size > 1 else 0
        if self.size > 1 and not distributed.is_initialized():
            backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(backends, timeout=PATIENCE)

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def joined(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in the order of the processes."""
        if self.alone:
            return list(items)
        result: list[Any] = [None] * self.size
        distributed.all_gather_object(result, list(items))
        return [item for part in result for item in part]

    def broadcast(self, value: T) -> T:
        """The first process's ``value``, in every process."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, count: int) -> float:
        """This process's share of the sum of ``count`` over all processes; 0 if the sum is 0."""
        whole = sum(self.joined([count]))
        return count / whole if whole else 0.0

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum every gradient over all processes; a gradient that no process has stays None."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if self.alone or not trained:
            return
        present = torch.tensor([float(parameter.grad is not None) for parameter in trained], device=trained[0].device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([present, *(part.flatten() for part in parts)])
        distributed.all_reduce(flat)
        result = flat[len(trained) :].split([parameter.numel() for parameter in trained])
        for parameter, gradient, times in zip(trained, result, flat[: len(trained)].tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if times else None

    @contextmanager
    def first(self) -> Iterator[None]:
        """Run the block in the first process, then in the others, which can read the files that it wrote."""
        if not self.leads:
            distributed.barrier()
        yield
        if self.leads and not self.alone:
            distributed.barrier()

    @contextmanager
    def parting(self) -> Iterator[None]:
        """Run the block, and destroy the process group at exit, because torch's threads must not outlive the interpreter
        (pytorch/pytorch issue 190489). After an error other processes may still wait, so the group is left alone.
        """
        try:
            yield
        except Stopped:
            self._destroy_at_exit()
            raise
        self._destroy_at_exit()

    def _destroy_at_exit(self) -> None:
        if not self.alone:
            atexit.unregister(_destroy)  # a process may train more than once
            atexit.register(_destroy)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch. They are neighbours, because neighbours share images and have similar lengths."""
        return np.array_split(rows, self.size)[self.rank]


def _destroy() -> None:
    distributed.destroy_process_group()


def check_parallel(config: RunConfig, group: Group) -> None:
    """Check that several processes can train this run.

    Raises:
        UserError: for a task that needs all rows of a batch in one process, or an objective whose processes would run different
            numbers of steps.
    """
    if group.alone:
        return
    for mixed in config.mixture:
        if mixed.objective.kind == "contrastive":
            raise UserError(f"{mixed.task.kind} compares all rows of a batch with each other; train it in one process")
        if config.sharded and mixed.objective.kind == "self_critical":
            raise UserError(
                "sharded is set, but with self_critical each process samples texts of other lengths; remove one of the two"
            )


def weight(targets: Iterable[Padded], rows: int) -> int:
    """The number of items that a batch's loss is the mean of: the target tokens, or the rows if there are none."""
    words = sum(int(target.mask[..., 1:].sum()) for target in targets if target.mask.ndim == 3)
    return words or rows


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
    from torch.distributed.device_mesh import init_device_mesh  # takes two seconds to import, for sharded training alone
    from torch.distributed.fsdp import FSDPModule, fully_shard

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


def _is_shard(tensor: Tensor) -> TypeGuard["DTensor"]:
    """Whether this process has only its share of the tensor."""
    module = sys.modules.get("torch.distributed.tensor")  # without a shard nobody has imported it, which takes long
    return module is not None and isinstance(tensor, module.DTensor)


def _whole(tensor: Tensor) -> Tensor:
    """The tensor with the shares of all processes."""
    return tensor.full_tensor() if _is_shard(tensor) else tensor


def unshared(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not sharded: all of an unsharded model, or the scalars of a sharded one."""
    return [parameter for parameter in model.parameters() if not _is_shard(parameter)]


def clip(parameters: Iterable[nn.Parameter], most: float) -> Float[Tensor, ""]:
    """Clip the global norm of the gradients to ``most`` (0: no limit), and return the norm before clipping."""
    return _whole(nn.utils.clip_grad_norm_(parameters, most or float("inf")))


def not_finite(model: nn.Module) -> list[str]:
    """The names of the trained weights and buffers with a value that is not finite, of this process's share."""
    changing = {name: value for name, value in model.named_parameters() if value.requires_grad} | dict(model.named_buffers())
    own = {name: value.to_local() if _is_shard(value) else value for name, value in changing.items()}
    finite = [torch.isfinite(value.detach()).all() for value in own.values()]
    return [name for name, good in zip(own, torch.stack(finite).tolist() if finite else (), strict=True) if not good]


def gathered(tensors: Mapping[str, Tensor], group: Group, device: torch.device = CPU) -> dict[str, Tensor]:
    """Whole tensors, in the first process only; all processes must call this."""
    result = {}
    for name, value in tensors.items():
        whole = _whole(value)
        if group.leads:
            result[name] = whole.to(device)
    return result


def placed(whole: Tensor, like: Tensor) -> Tensor:
    """Move a whole tensor to the device of ``like``; if ``like`` is sharded, this process gets its shard."""
    whole = whole.to(like.device)
    if not _is_shard(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


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
