"""Processes that train one model together (``torchrun --standalone --nproc-per-node 2 -m braid train run.yaml``).

Each takes its rows of every batch; their gradients are added up, so that all take the step that one process would have taken.
The first process alone evaluates, writes and speaks.
"""

import atexit
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed, nn

from braid.errors import UserError
from braid.records import Padded
from braid.training.config import RunConfig
from braid.training.guard import Stopped

T = TypeVar("T")

PATIENCE = timedelta(hours=24)  # the others wait while the first evaluates


class Group:
    """This process among those that torchrun started; alone where there is no torchrun."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
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
        """The items of all processes, in the order of these."""
        if self.alone:
            return list(items)
        result: list[Any] = [None] * self.size
        distributed.all_gather_object(result, list(items))
        return [item for part in result for item in part]

    def message(self, value: T) -> T:
        """What the first process has for ``value``."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, count: int) -> float:
        """This process's part of what all of them count; 0 where none counts anything."""
        whole = sum(self.joined([count]))
        return count / whole if whole else 0.0

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes the sum over all processes; one that no process has stays away."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if self.alone or not trained:
            return
        there = torch.tensor([float(parameter.grad is not None) for parameter in trained], device=trained[0].device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([there, *(part.flatten() for part in parts)])
        distributed.all_reduce(flat)
        result = flat[len(trained) :].split([parameter.numel() for parameter in trained])
        for parameter, gradient, times in zip(trained, result, flat[: len(trained)].tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if times else None

    @contextmanager
    def first(self) -> Iterator[None]:
        """The block in the first process, then in the others, which find what it left on disk."""
        if not self.leads:
            distributed.barrier()
        yield
        if self.leads and not self.alone:
            distributed.barrier()

    @contextmanager
    def parting(self) -> Iterator[None]:
        """Once all have done the block, or were stopped in it, they hang up on each other at their ends: torch's threads may not
        outlive the interpreter (pytorch/pytorch issue 190489). After an error others may still wait, and hanging up would, too.
        """
        try:
            yield
        except Stopped:
            self._hang_up_at_exit()
            raise
        self._hang_up_at_exit()

    def _hang_up_at_exit(self) -> None:
        if not self.alone:
            atexit.unregister(_hang_up)  # a process may train more than once
            atexit.register(_hang_up)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch: neighbours, because these share pictures and are of one length."""
        return np.array_split(rows, self.size)[self.rank]


def _hang_up() -> None:
    distributed.destroy_process_group()


def check_parallel(config: RunConfig, group: Group) -> None:
    """Refuse what several processes cannot do.

    Raises:
        UserError: for a task that needs all rows of a batch in one place, or an objective that does not keep step.
    """
    if group.alone:
        return
    for mixed in config.mixture:
        if mixed.objective.kind == "contrastive":
            raise UserError(f"{mixed.task.kind} compares all rows of a batch with each other; train it in one process")
        if config.sharded and mixed.objective.kind == "self_critical":
            raise UserError("sharded is set, and with self_critical each process draws texts of its own length; leave one out")


def weight(targets: Iterable[Padded], rows: int) -> int:
    """What a batch's mean loss is over: the words to predict; where there are none, its rows."""
    words = sum(int(target.mask[..., 1:].sum()) for target in targets if target.mask.ndim == 3)
    return words or rows
