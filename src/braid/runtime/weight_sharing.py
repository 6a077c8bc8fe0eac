"""Weight sharing: graphs take the parameters of the bundle from ``model.safetensors`` instead of containing copies."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, load_model, numpy_helper

from braid.bundle import FORMAT, WEIGHTS, fingerprint
from braid.files import whole, write_whole
from braid.runtime.onnx import shared_path

SMALL = 256  # bytes; smaller tensors stay in the graph


def share_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Remove a bundle's weights from a graph, and list them in a file beside it (``shared_path``).

    Weights are matched by value, because the exporter renames parameters and transposes matrices.
    """
    graph = load_model(path)
    transposed = {_digest(value.T): (name, True) for name, value in weights.items() if value.ndim == 2}
    sources = {**transposed, **{_digest(value): (name, False) for name, value in weights.items()}}
    shared = {}
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.nbytes >= SMALL and (source := sources.get(_digest(value))):
            shared[tensor.name] = {"parameter": source[0], "transposed": source[1]}
            _make_external(tensor)
    without_origins(graph)
    content = {"format": FORMAT, "of": fingerprint(path.parent), "weights": shared}
    write_whole(shared_path(path), json.dumps(content) + "\n")
    with whole(path) as fresh:
        fresh.write_bytes(graph.SerializeToString())


def _digest(value: np.ndarray) -> tuple[tuple[int, ...], str, bytes]:
    return value.shape, value.dtype.str, sha256(np.ascontiguousarray(value).tobytes()).digest()


def _make_external(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=WEIGHTS)


def without_origins(graph: ModelProto) -> None:
    """Remove the Python source line of each node, which is more than half of a graph without weights."""
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        value.ClearField("metadata_props")
