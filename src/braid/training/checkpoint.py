"""The resumable state of a run, in one file that is written atomically."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from braid.config import parse_json
from braid.errors import UserError
from braid.files import as_written, regular, whole
from braid.training.optimizer import MovingAverage
from braid.training.parallel import Group, gathered, placed

FILE = "checkpoint.safetensors"
START_AGAIN = "remove the folder and start again"


@dataclass
class Position:
    """The progress of a run: ``batch`` batches of epoch ``epoch`` are done, and ``step`` optimizer steps in total.

    ``asked``: the epochs that were asked for; within a time, not all may fit.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None  # the best value of the main metric so far, and its epoch below
    best_epoch: int = -1
    done: bool = False
    asked: int = 0


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    position: Position,
    meaning: str,
    group: Group,
) -> None:
    """Save model, optimizer and average as whole tensors. All processes must call this; the first one writes the file.

    Args:
        meaning: what the weights stand for, as JSON; see ``braid.training.resuming``.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.values.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    result = gathered(tensors, group)
    if group.leads:
        with whole(folder / FILE) as fresh:
            contiguous = {name: value.contiguous() for name, value in result.items()}
            save_file(contiguous, fresh, {"position": json.dumps(asdict(position)), "meaning": meaning})


def read_position(folder: Path) -> tuple[Position, dict[str, Any]] | None:
    """The position of a run, and what its weights stand for; None if it has no checkpoint yet.

    Raises:
        UserError: when the checkpoint cannot be read.
    """
    path = regular(folder / FILE, math.inf)
    if not path.is_file():
        return None
    with _opened(path) as file:
        metadata = file.metadata() or {}
    with as_written(path, START_AGAIN):
        position = Position(**parse_json(metadata["position"], nan=True))
        if min(position.epoch, position.batch, position.step) < 0:
            raise ValueError("a negative position")
        if not isinstance(position.best, int | float | None):
            raise TypeError("a best metric that is no number")
        return position, parse_json(metadata.get("meaning", "{}"))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {START_AGAIN}") from None


@torch.no_grad()
def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage) -> None:
    """Restore model, optimizer and average in place.

    Raises:
        UserError: when the checkpoint cannot be read, or belongs to another model.
    """
    path = folder / FILE
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    saved = _with_prefix(tensors, "model.")
    state = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(shapes.keys() | saved.keys()):
        shape = tuple(saved[name].shape) if name in saved else None
        if shape != shapes.get(name):
            sizes = f"{name} has shape {list(shape or ())} in the checkpoint and {list(shapes.get(name, ()))} in run.yaml"
            raise UserError(f"{path} belongs to another model: {sizes}; resume with the settings of its run")
    for name, value in state.items():
        value.copy_(placed(saved[name], value))
    parameters = dict(model.named_parameters())
    with as_written(path, START_AGAIN):
        average.values = {name: placed(value, parameters[name]) for name, value in _with_prefix(tensors, "average.").items()}
    for name, tensor in _with_prefix(tensors, "optimizer.").items():
        key, _, of = name.partition(".")
        if of not in parameters:
            raise UserError(f"{path} belongs to another model: it trains {of}, which this run does not have; {START_AGAIN}")
        parameter = parameters[of]
        is_moment = tensor.shape == parameter.shape  # the number of steps is a scalar
        optimizer.state[parameter][key] = placed(tensor, parameter) if is_moment else tensor.to(parameter.device)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
