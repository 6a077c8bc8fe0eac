"""Where torch computes: the processor, an NVIDIA GPU (cuda), an Apple one (mps)."""

import os

import torch

from braid.errors import UserError

AUTO = "auto"
CPU = torch.device("cpu")


def find_device(name: str = AUTO) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one. Of several processes each takes a GPU of its own.

    Raises:
        UserError: when the name means nothing to torch, or its device is not there.
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
        torch.backends.cuda.enable_cudnn_sdp(False)  # its gradients in bfloat16 were not numbers, those of the others were
    if (number := _number_of(device.type)) <= (device.index or 0):
        there = f"torch sees {number} of this kind" if number else f"torch {torch.__version__} sees none of this kind"
        raise UserError(f"device is {name!r}, and {there}; choose auto, cpu or another")
    return device


def _number_of(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return int(kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available()))


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked to; the processor has when it is asked."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
