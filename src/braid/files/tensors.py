"""Tensors by name in safetensors files: read as float32, written whole or as float16."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braid.errors import UserError
from braid.files.foreign import told
from braid.files.reading import regular

NUMBERS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # in safetensors, that numpy reads
STRIDE = 1 << 15  # numbers that are converted at once, so that they fit into the CPU cache
# the extra mantissa bits of float32; a mask of the sign, exponent and mantissa bits of float16; 2 ** (127 - 15)
MANTISSA, KEPT, EXPONENT = 23 - 10, np.int32(~0x70001FFF), np.float32(2.0**112)


def read_tensors(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read tensors, as float32 (the file may hold float16 or bfloat16).

    Args:
        names: the tensors to read; by default all.
    Raises:
        UserError: when the file is damaged, or a value is not finite.
    """
    try:
        with safe_open(regular(path, math.inf), "np") as mapped:
            tensors = {name: _tensor(mapped, path, name) for name in (mapped.keys() if names is None else names)}
    except UserError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(told(path, f"cannot be read ({error}); it may be cut short, copy it again")) from None
    for name, tensor in tensors.items():
        if not _all_finite(tensor):
            raise UserError(f"{path}: {name} contains values that are not numbers; copy it again, or train again")
    return {name: _single(tensor) for name, tensor in tensors.items()}


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], half: bool = False) -> None:
    """
    Args:
        half: write float32 as float16.
    Raises:
        UserError: when a value is not finite in the chosen precision.
    """
    save_file({name: _stored(value, half) for name, value in tensors.items()}, path)
    os.chmod(path, 0o644)  # safetensors makes it readable for the owner only


def tensor_shapes(path: Path, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes by name of a safetensors file's tensors whose names begin with ``prefix`` (removed), from its header alone."""
    try:
        with safe_open(regular(path, math.inf), framework="np") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a dict
            return {name.removeprefix(prefix): tuple(file.get_slice(name).get_shape()) for name in names}
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}; this bundle runs on ONNX only") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(told(path, f"cannot be read ({error}); it may be cut short, copy it again")) from None


def fits_half(weights: Mapping[str, np.ndarray]) -> bool:
    """Whether float16 holds these weights as they are."""
    singles = (value for value in weights.values() if value.dtype == np.float32)
    return all(np.array_equal(value, value.astype(np.float16)) for value in singles)


def _tensor(mapped: Any, path: Path, name: str) -> np.ndarray:
    """One tensor of a safetensors file that is open; numpy has no bfloat16, so its bits are widened to float32.

    Raises:
        UserError: for numbers that models do not have.
    """
    kind = mapped.get_slice(name).get_dtype()
    if kind == "BF16":
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            first, last = json.loads(file.read(size))[name]["data_offsets"]
            bits = np.fromfile(file, "<u2", (last - first) // 2, offset=first)
        shape = mapped.get_slice(name).get_shape()
        return (bits.astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if kind not in NUMBERS:
        raise UserError(f"{path}: {name} is stored as {kind}; save the weights as float32, float16 or bfloat16")
    tensor: np.ndarray = mapped.get_tensor(name)
    return tensor


def _stored(value: np.ndarray, half: bool) -> np.ndarray:
    stored = value.astype(np.float16) if half and value.dtype == np.float32 else value
    if not _all_finite(stored):
        raise UserError("a weight is not a finite number in the chosen precision; save it in float32 or train again")
    return np.asarray(stored, order="C")  # unlike ascontiguousarray, keeps a scalar a scalar


def _all_finite(tensor: np.ndarray) -> bool:
    if tensor.dtype == np.float16:  # by its bits, which takes a quarter of the time of every command's start
        return not tensor.size or int((tensor.view(np.uint16) & 0x7FFF).max()) < 0x7C00
    return tensor.dtype.kind != "f" or bool(np.isfinite(tensor).all())


def _single(tensor: np.ndarray) -> np.ndarray:
    """Convert finite float16 to float32 by bits: numpy's own conversion takes seven times as long (numpy 2.5)."""
    if tensor.dtype != np.float16:
        return tensor
    single = np.empty(tensor.shape, np.float32)
    halves, bits = tensor.reshape(-1).view(np.int16), single.reshape(-1).view(np.int32)
    for first in range(0, len(bits), STRIDE):
        part = bits[first : first + STRIDE]
        part[:] = halves[first : first + STRIDE]
        part <<= MANTISSA  # the sign bit is repeated; the other bits are now where float32 has them
        part &= KEPT
        part.view(np.float32)[:] *= EXPONENT
    return single
