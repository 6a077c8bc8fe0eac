"""Graphs with 8 bit weights: products with constant matrices in integers, tables as bytes; convolutions stay floats.

Every scale belongs to a block of one row, of weights as of activations, so that a row's answer does not depend on the others of
its batch: one scale for a whole tensor, as ONNX Runtime's dynamic quantization has it, would make it.
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

BLOCK = 32  # weights that share a scale
ZERO = 128  # the byte that means 0
INTEGERS = 4  # the accuracy level at which activations are bytes, too, with a scale for each block of each row
SMALL = 4096  # weights; fewer stay as they are
ALIGNED = 64  # bytes; where a tensor may begin in the file of weights
CONTRIB = "com.microsoft"  # operators that ONNX Runtime has beside the standard's


def quantize(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Write the graphs again into ``folder``, under their names, with 8 bit weights, all in one file.

    A weight that several graphs have is there once. Recurrent layers, normalisation and biases stay as they are.
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
    """A matrix as bytes and the scale of each block of each row: the nearest of 255 steps, even around ``ZERO``. The last block
    is filled up."""
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
    """A graph's constants by name, and which matrices it makes of them by transposing."""

    def __init__(self, graph: GraphProto) -> None:
        self.there = {tensor.name: tensor for tensor in graph.initializer}
        self._turned = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Transpose" and self.weight(node.input[0], rank=2) is not None
        }

    def weight(self, name: str, rank: int) -> np.ndarray | None:
        """A constant of this rank that is large enough to be worth it; None for anything else."""
        tensor = self.there.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != rank:
            return None
        return numpy_helper.to_array(tensor) if np.prod(tensor.dims) >= SMALL else None

    def factor(self, name: str, turned: bool = False) -> tuple[str, np.ndarray] | None:
        """The right side of a product, an output a row. A table of words that a graph reads and writes with goes by one name."""
        origin = self._turned.get(name, name)
        if (matrix := self.weight(origin, rank=2)) is None:
            return None
        as_rows = turned or origin != name
        return (f"{origin}.rows", matrix) if as_rows else (f"{origin}.columns", matrix.T)

    def add(self, name: str, value: np.ndarray) -> str:
        if name not in self.there:
            self.there[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add_blocks(self, name: str, matrix: np.ndarray) -> list[str]:
        values, scales = in_blocks(matrix)
        return [self.add(f"{name}.bytes", values), self.add(f"{name}.scales", scales)]


def _replaced(node: NodeProto, constants: _Constants) -> Iterable[NodeProto]:
    """What stands for a node: itself, where it has no large weight."""
    if node.op_type in ("MatMul", "Gemm"):
        return _product(node, constants)
    if node.op_type == "Gather":
        return _look_up(node, constants)
    return _convolution(node, constants) if node.op_type == "Conv" else [node]


def _product(node: NodeProto, constants: _Constants) -> Iterable[NodeProto]:
    """A product with a constant: bytes times bytes."""
    message = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = not message.get("transA") and message.get("alpha", 1) == message.get("beta", 1) == 1
    result = constants.factor(node.input[1], bool(message.get("transB")))
    if result is None or not plain:
        return [node]
    name, rows = result
    given = [node.input[0], *constants.add_blocks(name, rows), *(["", "", node.input[2]] if len(node.input) > 2 else [])]
    sizes: Any = {"N": rows.shape[0], "K": rows.shape[1], "bits": 8, "block_size": BLOCK, "accuracy_level": INTEGERS}
    return [helper.make_node("MatMulNBits", given, node.output, node.name, domain=CONTRIB, **sizes)]


def _look_up(node: NodeProto, constants: _Constants) -> Iterator[NodeProto]:
    """Rows of a table, each widened when it is read."""
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
    """A convolution in fp32, whose kernels are half floats on disk and widened once, when the graph is loaded."""
    kernels = constants.weight(node.input[1], rank=4)
    if kernels is not None and np.abs(kernels).max() < np.finfo(np.float16).max:
        half = constants.add(f"{node.input[1]}.half", kernels.astype(np.float16))
        node.input[1] = f"{node.output[0]}.kernels"
        yield helper.make_node("Cast", [half], [node.input[1]], to=TensorProto.FLOAT)
    yield node


def _move_out(tensor: TensorProto, store: IO[bytes], places: dict[bytes, int]) -> None:
    """Leave a tensor's bytes to the file of weights, where those of equal ones are already."""
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
