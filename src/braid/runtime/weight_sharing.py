"""Graphs that hold no weights of their own: what is a parameter of the bundle is left to ``model.safetensors``."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, load_model, numpy_helper

from braid.bundle import FORMAT, WEIGHTS
from braid.files import whole, write_whole
from braid.runtime.onnx import fingerprint, shared_path

SMALL = 256  # bytes; what is smaller stays in the graph


def share_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Take out of a graph the weights that lie beside it, and write down which they are (``shared_path``).

    They are found by their values: the exporter renames parameters and transposes matrices.
    """
    graph = load_model(path)
    turned = {_known(value.T): (name, True) for name, value in weights.items() if value.ndim == 2}
    sources = {**turned, **{_known(value): (name, False) for name, value in weights.items()}}
    shared = {}
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.nbytes >= SMALL and (source := sources.get(_known(value))):
            shared[tensor.name] = {"parameter": source[0], "transposed": source[1]}
            _leave_out(tensor)
    without_origins(graph)
    message = {"format": FORMAT, "of": fingerprint(path.parent), "weights": shared}
    write_whole(shared_path(path), json.dumps(message) + "\n")
    with whole(path) as fresh:
        fresh.write_bytes(graph.SerializeToString())


def _known(value: np.ndarray) -> tuple[tuple[int, ...], str, bytes]:
    return value.shape, value.dtype.str, sha256(np.ascontiguousarray(value).tobytes()).digest()


def _leave_out(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=WEIGHTS)


def without_origins(graph: ModelProto) -> None:
    """Drop which line of Python each node comes from: more than half of a graph without weights."""
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        value.ClearField("metadata_props")
