"""8 bit quantization of graphs: matrix products run in integers, embedding tables are bytes, convolutions stay in floats.

Every scale belongs to a block of one row, for weights and for activations. So a row's result does not depend on the other rows of
its batch, as it would with one scale per tensor (ONNX Runtime's dynamic quantization).
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, load_model, numpy_helper

from braid.files import whole
from braid.runtime.onnx import STORE
from braid.runtime.weight_sharing import without_origins
from braid.shapes import Float, Float32, UInt8

BLOCK = 32  # weights that share one scale
ZERO = 128  # the byte that stands for 0
INTEGERS = 4  # accuracy level: activations are bytes, too, with one scale per block of a row
SMALL = 4096  # smaller tensors are not quantized
ALIGNED = 64  # bytes; alignment of tensors in the file of weights
CONTRIB = "com.microsoft"  # domain of ONNX Runtime's own operators


def quantize(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Write 8 bit copies of the graphs to ``folder``, under the same names, with all weights in one file; returns the paths.

    Graphs share equal weights. Recurrent layers, normalisation and biases stay in fp32.
    """
    graphs = {folder / source.name: _quantized(load_model(source)) for source in sources}
    with whole(folder / STORE) as fresh, open(fresh, "wb") as store:
        places: dict[bytes, int] = {}
        for model in graphs.values():
            for tensor in model.graph.initializer:
                _move_out(tensor, store, places)
    for path, model in graphs.items():
        with whole(path) as fresh:
            fresh.write_bytes(model.SerializeToString())
    return [*graphs, folder / STORE]


def in_blocks(
    matrix: Float[np.ndarray, "rows columns"], block: int = BLOCK
) -> tuple[UInt8[np.ndarray, "rows blocks block"], Float32[np.ndarray, "rows blocks"]]:
    """Quantize a matrix: each value becomes the nearest of 255 steps around ``ZERO``, with one scale per block of a row. The last
    block is padded."""
    rows, columns = matrix.shape
    filled = np.pad(matrix.astype(np.float32), ((0, 0), (0, -columns % block))).reshape(rows, -1, block)
    scales = np.abs(filled).max(-1) / np.float32(127)
    scales[scales == 0] = 1
    return (np.rint(filled / scales[..., None]) + ZERO).astype(np.uint8), scales


def _quantized(model: ModelProto) -> ModelProto:
    graph = model.graph
    constants = _Constants(graph)
    nodes = [new for node in graph.node for new in _replaced(node, constants)]
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(node for node in nodes if used.intersection(node.output))
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(tensor for name, tensor in constants.there.items() if name in used)
    without_origins(model)
    model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return model


class _Constants:
    """The constants of a graph by name, and the names under which it transposes them."""

    def __init__(self, graph: GraphProto) -> None:
        self.there = {tensor.name: tensor for tensor in graph.initializer}
        self._transposed = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Transpose" and self.weight(node.input[0], rank=2) is not None
        }

    def weight(self, name: str, rank: int) -> np.ndarray | None:
        """A constant of this rank that is large enough to quantize, or None."""
        tensor = self.there.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != rank:
            return None
        return numpy_helper.to_array(tensor) if np.prod(tensor.dims) >= SMALL else None

    def factor(self, name: str, transposed: bool = False) -> tuple[str, np.ndarray] | None:
        """The right factor of a product, one row per output. A word embedding that is used for input and output gets one name."""
        origin = self._transposed.get(name, name)
        if (matrix := self.weight(origin, rank=2)) is None:
            return None
        as_rows = transposed or origin != name
        return (f"{origin}.rows", matrix) if as_rows else (f"{origin}.columns", matrix.T)

    def add(self, name: str, value: np.ndarray) -> str:
        if name not in self.there:
            self.there[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add_blocks(self, name: str, matrix: np.ndarray) -> list[str]:
        values, scales = in_blocks(matrix)
        return [self.add(f"{name}.bytes", values), self.add(f"{name}.scales", scales)]


def _replaced(node: NodeProto, constants: _Constants) -> Iterable[NodeProto]:
    """The nodes that replace a node; a node without a large weight is kept."""
    if node.op_type in ("MatMul", "Gemm"):
        return _product(node, constants)
    if node.op_type == "Gather":
        return _look_up(node, constants)
    return _convolution(node, constants) if node.op_type == "Conv" else [node]


def _product(node: NodeProto, constants: _Constants) -> Iterable[NodeProto]:
    """Replace a product with a constant by an integer product."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = not attributes.get("transA") and attributes.get("alpha", 1) == attributes.get("beta", 1) == 1
    result = constants.factor(node.input[1], bool(attributes.get("transB")))
    if result is None or not plain:
        return [node]
    name, rows = result
    given = [node.input[0], *constants.add_blocks(name, rows), *(["", "", node.input[2]] if len(node.input) > 2 else [])]
    sizes: Any = {"N": rows.shape[0], "K": rows.shape[1], "bits": 8, "block_size": BLOCK, "accuracy_level": INTEGERS}
    return [helper.make_node("MatMulNBits", given, node.output, node.name, domain=CONTRIB, **sizes)]


def _look_up(node: NodeProto, constants: _Constants) -> Iterator[NodeProto]:
    """Replace a look-up by one in a table of bytes, which converts each row to floats when it is read."""
    table = constants.weight(node.input[0], rank=2)
    along = next((attribute.i for attribute in node.attribute), 0)
    if table is None or along != 0 or table.shape[1] % BLOCK:
        yield node
        return
    name = f"{node.input[0]}.rows"
    values, scales = constants.add_blocks(name, table)
    flat, shape = f"{node.output[0]}.table", constants.add(f"{name}.shape", np.array(table.shape))
    yield helper.make_node("Reshape", [values, shape], [flat])
    sizes: Any = {"bits": 8, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
    yield helper.make_node("GatherBlockQuantized", [flat, node.input[1], scales], node.output, node.name, domain=CONTRIB, **sizes)


def _convolution(node: NodeProto, constants: _Constants) -> Iterator[NodeProto]:
    """Store the kernels of a convolution in float16; they are converted to fp32 once, when the graph is loaded."""
    kernels = constants.weight(node.input[1], rank=4)
    if kernels is not None and np.abs(kernels).max() < np.finfo(np.float16).max:
        half = constants.add(f"{node.input[1]}.half", kernels.astype(np.float16))
        node.input[1] = f"{node.output[0]}.kernels"
        yield helper.make_node("Cast", [half], [node.input[1]], to=TensorProto.FLOAT)
    yield node


def _move_out(tensor: TensorProto, store: IO[bytes], places: dict[bytes, int]) -> None:
    """Move a tensor's bytes to the file of weights; equal tensors are stored once."""
    content = numpy_helper.to_array(tensor).tobytes()
    if len(content) < SMALL:
        return
    known = sha256(content).digest()
    if known not in places:
        store.write(bytes(-store.tell() % ALIGNED))
        places[known] = store.tell()
        store.write(content)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", STORE), ("offset", places[known]), ("length", len(content))):
        tensor.external_data.add(key=key, value=str(value))
