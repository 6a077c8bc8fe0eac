"""A bundle on ONNX Runtime: it needs numpy alone and starts quickly. ``export.py`` writes the graphs."""

import math
import mmap
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from braid.bundle import FORMAT, WEIGHTS, Bundle, fingerprint
from braid.environment import threads
from braid.errors import UserError, install_command
from braid.files import read_json, regular, utf8_path
from braid.files.foreign import foreign, told
from braid.generation import GenerationConfig, check_generates, check_output, write_text
from braid.modalities import InputModality, OutputModality, TokenGrid, Tokenizer
from braid.records import Batch, BatchInput, Prediction
from braid.shapes import Float, Int

State = Mapping[str, np.ndarray]
STORE = "weights.int8"  # the file of weights that all graphs of an 8 bit folder share
FAILURES = (errors.Fail, errors.InvalidArgument, errors.NotImplemented, errors.RuntimeException)
PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
MOST_ROWS = 4096  # rows and columns of image tokens
OTHER_GRAPHS = "the graphs are of another model; export them again"
# A node that repeats others as often as its inputs say, as protobuf writes it: field 4, its length, the operator.
REPEATS = re.compile(rb"(?:\x22|\xa2\x80*\x00)(?:\x04|\x84\x80*\x00)(Loop|Scan)")
NEXT = ".next"  # suffix of the new cache of a step graph: an output cannot have the name of an input


def graph_path(folder: Path, decoder: str, graph: str) -> Path:
    """The path of a decoder's graph (``start``, ``step``, ``fill``, ``vector``, ``tokens`` or ``pixels``) in a bundle."""
    return folder / f"{decoder}.{graph}.onnx"


def shared_path(graph: Path) -> Path:
    """The file that lists which weights of a graph come from the bundle; a graph without this file contains its own weights."""
    return graph.with_suffix(".weights.json")


class Graphs:
    """The graphs of a bundle in memory. Each graph is read once, and shared weights are loaded once."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._sessions: dict[Path, onnxruntime.InferenceSession] = {}
        self._weights: dict[tuple[str, bool], onnxruntime.OrtValue] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy, here or in another process, opens its sessions itself."""
        return {"bundle": self.bundle, "_sessions": {}, "_weights": {}}

    def session(self, decoder: str, graph: str) -> onnxruntime.InferenceSession:
        """The session of one graph, loaded on first use.

        Raises:
            UserError: when the graph, or the weights that it shares, cannot be read.
        """
        path = graph_path(self.bundle.folder, decoder, graph)
        if path not in self._sessions:
            self._sessions[path] = _session(path, self._shared(shared_path(path)))
        return self._sessions[path]

    @cached_property  # small and folded weights stay in a graph, so a graph fits only the weights that it was exported from
    def _fingerprint(self) -> str:
        return fingerprint(self.bundle.folder)

    def _shared(self, path: Path) -> dict[str, onnxruntime.OrtValue]:
        """The initializers of a graph that are parameters of the bundle, plain or transposed."""
        if not path.is_file():
            return {}
        if not (self.bundle.folder / WEIGHTS).is_file():
            raise UserError(f"{self.bundle.folder} has no {WEIGHTS}, from which its graphs take their weights; copy it again")
        try:
            shared = read_json(path, "export the graphs again")
            if shared["format"] != FORMAT:
                raise ValueError(f"format {shared['format']}")
            sources = {name: (str(one["parameter"]), bool(one["transposed"])) for name, one in shared["weights"].items()}
            of = shared["of"]
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} cannot be read ({error}); export the graphs again") from None
        missing = {source for source in sources.values() if source not in self._weights}
        weights = self.bundle.weights({parameter for parameter, _ in missing}) if missing else {}
        if of != self._fingerprint:
            raise UserError(f"{path} was exported from other weights than the {WEIGHTS} beside it; export the graphs again")
        for parameter, transposed in missing:
            value = np.ascontiguousarray(weights[parameter].T if transposed else weights[parameter])
            self._weights[parameter, transposed] = onnxruntime.OrtValue.ortvalue_from_numpy(value)
        return {name: self._weights[source] for name, source in sources.items()}


class OnnxRuntime:
    """Runs a model's graphs, with the same methods as ``TorchRuntime``."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._graphs = Graphs(bundle)

    @property
    def outputs(self) -> Mapping[str, OutputModality]:
        return self.bundle.outputs

    def decoder(self, name: str) -> "OnnxDecoder":
        check_output(name, self.outputs, "writes texts")
        assert self.bundle.tokenizer is not None  # an output that writes has one
        return OnnxDecoder(self._graphs, name, self.bundle.tokenizer)

    def write(self, name: str, batch: Batch, config: GenerationConfig) -> list[Prediction]:
        decoder = self.decoder(name)
        assert self.bundle.tokenizer is not None
        return write_text(decoder, batch, self.bundle.tokenizer, config)

    def vector(self, name: str, batch: Batch) -> Float[np.ndarray, "batch size"]:
        check_output(name, self.outputs, "gives labels, a number or an embedding")
        return _run(self._graphs.session(name, "vector"), _feeds(self.bundle, batch), self.bundle.folder, "vector")["vector"]

    def codec(self, name: str) -> "OnnxCodec":
        check_output(name, self.outputs, "generates images")
        return OnnxCodec(self._graphs, name)

    def image_decoder(self, name: str) -> "OnnxStepper | OnnxFiller":
        check_output(name, self.outputs, "generates images")
        decoders = [name for graph in ("step", "fill") if graph_path(self.bundle.folder, name, graph).is_file()]
        check_generates(name, decoders)
        filling = graph_path(self.bundle.folder, name, "fill").is_file()
        return OnnxFiller(self._graphs, name) if filling else OnnxStepper(self._graphs, name)


class OnnxCodec:
    """Converts images to tokens and back, with two graphs: ``tokens`` and ``pixels``."""

    def __init__(self, graphs: Graphs, name: str) -> None:
        self._tokens, self._pixels = graphs.session(name, "tokens"), graphs.session(name, "pixels")
        self._folder = graphs.bundle.folder
        metadata = self._pixels.get_modelmeta().custom_metadata_map
        try:
            self.grid = TokenGrid(int(metadata["rows"]), int(metadata["columns"]), tuple(map(int, metadata["parts"].split())))
            if not (1 <= self.grid.rows <= MOST_ROWS and 1 <= self.grid.columns <= MOST_ROWS and min(self.grid.parts) > 0):
                raise ValueError
        except (KeyError, ValueError):
            path = graph_path(self._folder, name, "pixels")
            raise UserError(f"{path} has no token grid in its metadata; export the model again") from None

    def tokens(self, pixels: Float[np.ndarray, "n 3 height width"]) -> Int[np.ndarray, "n length"]:
        result = _run(self._tokens, {"pixels": pixels}, self._folder, "tokens")["tokens"]
        return result.astype(np.int64)  # ONNX Runtime returns another 8 byte integer type

    def pixels(self, tokens: Int[np.ndarray, "n length"]) -> Float[np.ndarray, "n 3 height width"]:
        return _run(self._pixels, {"tokens": tokens}, self._folder, "pixels")["pixels"]


class OnnxStepper:
    """The decode protocol with two graphs: ``start`` (inputs -> state) and ``step`` (tokens, state -> logits, cache)."""

    def __init__(self, graphs: Graphs, name: str) -> None:
        self._start, self._step = graphs.session(name, "start"), graphs.session(name, "step")
        self._bundle = graphs.bundle

    def start(self, batch: Batch) -> State:
        return _run(self._start, _feeds(self._bundle, batch), self._bundle.folder)

    def step(self, tokens: Int[np.ndarray, "batch group"], state: State) -> tuple[Float[np.ndarray, "batch group vocab"], State]:
        result = _run(self._step, {"tokens": tokens, **state}, self._bundle.folder, "logits")
        logits = result.pop("logits")
        if logits.shape[:-1] != tokens.shape or any(value.shape[:2] != tokens.shape for value in result.values()):
            raise UserError(f"{self._bundle.folder}: a graph gives scores of another shape; {OTHER_GRAPHS}")
        return logits, {**state, **{name.removesuffix(NEXT): value for name, value in result.items()}}

    def reorder(self, state: State, parents: Int[np.ndarray, "batch group"]) -> State:
        rows = np.arange(len(parents))[:, None]
        return {name: value[rows, parents] if name.startswith("cache.") else value for name, value in state.items()}


class OnnxDecoder(OnnxStepper):
    """The decode protocol for texts, with the special tokens."""

    def __init__(self, graphs: Graphs, name: str, tokenizer: Tokenizer) -> None:
        super().__init__(graphs, name)
        self.special = tokenizer.special
        shapes = [node.shape for node in self._step.get_outputs() if node.name == "logits"]
        written = shapes[0][-1] if shapes and shapes[0] else 0
        if written != tokenizer.vocab_size:
            message = f"tokenizer.json has {tokenizer.vocab_size} tokens, the graphs write {written}"
            raise UserError(f"{graphs.bundle.folder}: {message}; the files are of different models")


class OnnxFiller:
    """The fill protocol with two graphs: ``start`` (inputs -> state) and ``fill`` (tokens, state -> logits)."""

    def __init__(self, graphs: Graphs, name: str) -> None:
        self._start, self._fill = graphs.session(name, "start"), graphs.session(name, "fill")
        self._bundle = graphs.bundle

    def start(self, batch: Batch) -> State:
        return _run(self._start, _feeds(self._bundle, batch), self._bundle.folder)

    def fill(self, tokens: Int[np.ndarray, "batch length"], state: State) -> Float[np.ndarray, "batch length codes"]:
        return _run(self._fill, {"tokens": tokens, **state}, self._bundle.folder, "logits")["logits"]


def _feeds(bundle: Bundle, batch: Batch) -> dict[str, np.ndarray]:
    """The feeds of a graph that encodes: values, mask and index of every input."""
    feeds: dict[str, np.ndarray] = {}
    for name, modality in bundle.inputs.items():
        given = batch.inputs.get(name) or _missing(modality, batch.size)
        feeds |= {f"{name}.values": given.distinct.values, f"{name}.mask": given.distinct.mask, f"{name}.index": given.index}
    return feeds


def _missing(modality: InputModality, rows: int) -> BatchInput:
    """A stand-in that no row uses, because a graph needs every input."""
    return BatchInput(modality.pad([modality.missing()]), np.full(rows, -1, dtype=np.int64))


def _session(path: Path, shared: Mapping[str, onnxruntime.OrtValue]) -> onnxruntime.InferenceSession:
    if not regular(path, math.inf).is_file():
        raise UserError(
            f"{path} is missing; run `braid export {path.parent}` where torch is installed, or: {install_command('train')}"
        )
    _check_repeats(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised anyway
    if shared:  # with add_initializer the session returns NaN (1.32)
        options.add_external_initializers(list(shared), list(shared.values()))
    try:
        with utf8_path(path) as reachable:
            return onnxruntime.InferenceSession(str(reachable), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if kind := foreign(path):
            raise UserError(told(path, kind)) from None
        outside = "escapes" in str(error) or "Absolute path" in str(error)
        if "external" in str(error).lower() and not shared and not outside:
            raise UserError(f"{path.parent / STORE} is missing or cut short; copy it again") from None
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}); export it again") from None


def _check_repeats(path: Path) -> None:
    """Refuse a graph that could run for ever; the graphs that ``export.py`` writes repeat nothing."""
    if not path.stat().st_size:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if found := REPEATS.search(data):
            raise UserError(f"{path} has a node {found[1].decode()}, which could run for ever; export it again")


def _run(
    session: onnxruntime.InferenceSession, feeds: Mapping[str, Any], folder: Path, needed: str | None = None
) -> dict[str, np.ndarray]:
    """Run a graph.

    Args:
        needed: an output that it must have.
    Raises:
        UserError: when the graph takes other inputs than the model has, gives other outputs, or fails.
    """
    wanted = {node.name for node in session.get_inputs()}  # a graph has no inputs that it does not use
    names = [node.name for node in session.get_outputs()]
    if needed is not None and needed not in names:
        raise UserError(f"{folder}: a graph does not give {needed!r}; {OTHER_GRAPHS}")
    try:
        values = session.run(names, {name: value for name, value in feeds.items() if name in wanted})
    except (RuntimeError, ValueError, *FAILURES) as error:
        reason = PREFIX.sub("", str(error).strip().partition("\n")[0])[:200]
        raise UserError(f"{folder}: the graphs do not fit interface.json ({reason}); export them again") from None
    return dict(zip(names, values, strict=True))
