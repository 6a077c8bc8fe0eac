"""Processes that train one model together (``torchrun --standalone --nproc-per-node 2 -m braid train run.yaml``).

Each process takes its rows of every batch. Gradients are summed, so that all processes take the step that a single process
would take. Only the first process evaluates, writes files and prints.
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
    """The processes that torchrun started, seen from this one; a group of one without torchrun."""

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
