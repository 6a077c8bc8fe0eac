"""What turns values into the features that are kept: a frozen encoder on torch, or its graph on ONNX Runtime.

On a processor, ONNX Runtime computes convolutions several times as fast as torch (benchmarks/encoding.py). Its graph takes some
seconds to make, which pays off for many values.
"""

from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from braid.encoders import TwoPartEncoder
from braid.modalities import InputModality
from braid.records import Features, Padded
from braid.runtime.export import export_encoder

MANY = 1000  # values from which on a graph is worth the seconds that its export takes
NEEDED = ("onnx", "onnxscript", "onnxruntime")

Encode = Callable[[Padded], Padded]  # values, as a modality pads them -> features, in numpy


def on_torch(encoder: nn.Module, precision: str) -> Encode:
    """The encoder, or its first part, where its parameters are."""

    @torch.no_grad()
    def encode(given: Padded) -> Padded:
        device = next(encoder.parameters()).device
        padded = Padded(torch.from_numpy(given.values).to(device), torch.from_numpy(given.mask).to(device))
        fast = precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16) if fast else nullcontext():
            result: Features = encoder.describe(padded) if isinstance(encoder, TwoPartEncoder) else encoder(padded)
        return Padded(result.values.float().cpu().numpy(), result.mask.cpu().numpy())

    return encode


def fastest(encoder: nn.Module, precision: str, modality: InputModality, number: int) -> Encode:
    """A graph on ONNX Runtime for ``number`` values that are ``MANY`` and of one size; else, or where none can be made, torch."""
    plain = on_torch(encoder, precision)
    example, varies = modality.example()
    on_processor = next(encoder.parameters()).device.type == "cpu" and precision == "float32"
    if number < MANY or varies or not on_processor or not all(map(find_spec, NEEDED)):
        return plain
    noise = np.random.default_rng(0).standard_normal(example.values.shape, np.float32)
    try:
        return _on_onnx(encoder, Padded(noise, example.mask), plain)
    except Exception:  # the exporter does not know every operator; the encoder itself is always there
        return plain


def _on_onnx(encoder: nn.Module, example: Padded, plain: Encode) -> Encode:
    """The graph, if it gives what torch gives for an example."""
    import onnxruntime

    with TemporaryDirectory() as place:
        path = Path(place) / "encoder.onnx"
        export_encoder(encoder, example, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def encode(given: Padded) -> Padded:
        values, mask = session.run(None, {"values": given.values, "mask": given.mask})
        return Padded(values, mask)

    wanted, found = plain(example), encode(example)
    same = np.allclose(wanted.values, found.values, rtol=1e-2, atol=1e-2) and np.array_equal(wanted.mask, found.mask)
    return encode if same else plain
