"""The resumable state of a run: one file, written whole or not at all."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from braid.errors import UserError
from braid.files import whole
from braid.training.optimizer import MovingAverage

FILE = "checkpoint.safetensors"


@dataclass
class Position:
    """Where a run stands: ``batch`` batches of ``epoch`` are done, ``step`` optimizer steps in all."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None  # the best figure so far, and the epoch it came from
    best_epoch: int = -1
    done: bool = False


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage, position: Position
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.values.items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    with whole(folder / FILE) as fresh:
        save_file(
            {name: value.contiguous() for name, value in tensors.items()}, fresh, {"position": json.dumps(asdict(position))}
        )


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: MovingAverage) -> Position:
    """Fill model, optimizer and average in place, and say where the run stood.

    Raises:
        UserError: when there is no readable checkpoint or it is of another model.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE} to resume from; start without --resume")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            position = Position(**json.loads(file.metadata()["position"]))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove the folder and start again") from None
    saved = _part(tensors, "model.")
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(own.keys() | saved.keys()):
        there = tuple(saved[name].shape) if name in saved else None
        if there != own.get(name):
            sizes = f"{name} is {list(there or ())} in it and {list(own.get(name, ()))} by run.yaml"
            raise UserError(f"{path} is of another model: {sizes}; resume with the settings it was made with")
    model.load_state_dict(saved)
    parameters = dict(model.named_parameters())
    average.values = {name: value.to(parameters[name].device) for name, value in _part(tensors, "average.").items()}
    for name, tensor in _part(tensors, "optimizer.").items():
        key, _, of = name.partition(".")
        optimizer.state[parameters[of]][key] = tensor.to(parameters[of].device)
    return position


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
