"""The device on which torch computes: the CPU, an NVIDIA GPU (cuda) or an Apple GPU (mps)."""

import os

import torch

from braid.errors import UserError

AUTO = "auto"
CPU = torch.device("cpu")


def find_device(name: str = AUTO) -> torch.device:
    """The device of this name; ``auto`` is a GPU if there is one. Each of several processes gets a GPU of its own.

    Raises:
        UserError: when torch does not know the name, or the device does not exist.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device is {name!r}; choose auto, cpu, cuda, cuda:1 or mps") from None
    if name == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)  # its bfloat16 gradients were NaN; the other backends are correct
    if (number := _number_of(device.type)) <= (device.index or 0):
        there = f"torch sees {number} of this kind" if number else f"torch {torch.__version__} sees none of this kind"
        raise UserError(f"device is {name!r}, and {there}; choose auto, cpu or another")
    return device


def _number_of(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return int(kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available()))


def finish(device: torch.device) -> None:
    """Wait until the GPU has finished its work; on the CPU there is nothing to wait for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
