"""Export of a model to fp32 ONNX graphs: ``start`` and ``step``, or ``start`` and ``fill``, for each decoder of texts or images,
``tokens`` and ``pixels`` for each codec, and ``vector`` for every other output."""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from braid.bundle import Bundle, read_bundle, write_descriptions
from braid.codecs import Codec
from braid.decoders import MaskedDecoder, TextDecoder
from braid.encoders import TwoPartEncoder
from braid.errors import UserError, install_command
from braid.files import utf8_path, whole
from braid.modalities import InputModality
from braid.model import Model
from braid.records import Batch, BatchInput, Padded
from braid.runtime.onnx import NEXT, graph_path, shared_path
from braid.runtime.parity import PARITY
from braid.runtime.torch import load_model

Parts = Iterable[tuple[str, nn.Module]]
Watch = Callable[[Parts, int], Parts]  # wraps what is exported in a progress bar
Check = Callable[[Bundle, Bundle], None]  # compares the model in fp32 with the one in 8 bit


def every(parts: Parts, total: int) -> Parts:
    """No progress bar."""
    return parts


def export(bundle: Bundle, folder: Path, watch: Watch = every) -> list[Path]:
    """Write the graphs of every decoder and codec into ``folder``, and return their paths.

    Graphs in the bundle's own folder share the weights of the bundle. Graphs in any other folder contain their weights, so that
    folder runs on any ONNX Runtime.
    """
    model = load_model(bundle)
    paths = []
    for name, decoder in watch(model.decoders.items(), len(model.decoders)):
        vector = bundle.outputs[name].does not in ("writes texts", "generates images")
        kind = export_vector if vector else export_filler if isinstance(decoder, MaskedDecoder) else export_decoder
        paths += kind(model, bundle.inputs, name, folder)
    for name in model.codecs:
        paths += export_codec(model, name, folder)
    if folder.resolve() == bundle.folder.resolve():
        from braid.runtime.weight_sharing import share_weights  # needs onnx, which the export has imported

        weights = bundle.weights()
        for path in paths:
            share_weights(path, weights)
    return paths


def export_int8(bundle: Bundle, folder: Path, check: Check, watch: Watch = every) -> list[Path]:
    """Write a bundle whose graphs have 8 bit weights. If ``check`` raises an error, nothing is written. Outputs that generate
    images keep their fp32 graphs.

    Args:
        check: compares the model in fp32 with the model in 8 bit, and raises an error if they differ too much.
    Raises:
        UserError: when the folder is the bundle's own or has other files, or no output can be quantized.
    """
    generated = tuple(f"{name}." for name, output in bundle.outputs.items() if output.does == "generates images")
    _check_int8(bundle, folder, len(generated))
    from braid.runtime.quantize import quantize  # needs onnx

    with TemporaryDirectory() as place, whole(folder) as fresh:
        fresh.mkdir()
        exact = Path(place)
        graphs = export(bundle, exact, watch)
        kept = [path for path in graphs if path.name.startswith(generated)]
        paths = quantize([path for path in graphs if path not in kept], fresh)
        for path in kept:
            shutil.copy(path, fresh)
        card = replace(bundle.interface.card, scores={}, scored_on="")  # they were measured on the fp32 weights
        for side, interface in ((exact, bundle.interface), (fresh, replace(bundle.interface, card=card))):
            write_descriptions(side, interface, bundle.tokenizers)
        check(read_bundle(exact), read_bundle(fresh))
        return [folder / path.name for path in (*paths, *kept)]


def _check_int8(bundle: Bundle, folder: Path, num_generated: int) -> None:
    if folder.resolve() == bundle.folder.resolve():
        raise UserError(f"{folder} is the model's own folder, whose graphs are fp32; choose another folder with --output")
    if folder.exists() and not (folder / PARITY).is_file() and any(folder.iterdir()):
        raise UserError(f"{folder} contains other files; choose a new folder with --output")
    if num_generated == len(bundle.outputs):
        raise UserError(f"{bundle.folder} only generates images, which int8 does not support; remove --int8")


def export_filler(model: Model, inputs: Mapping[str, InputModality], name: str, folder: Path) -> list[Path]:
    """Write ``<name>.start.onnx`` and ``<name>.fill.onnx``."""
    model = model.eval()
    decoder: Any = model.image_decoder(name)
    names, state, start = _export_start(model, decoder, inputs, name, folder)
    tokens = torch.full((2, decoder.grid.length), decoder.grid.codes)
    fill = graph_path(folder, name, "fill")
    arguments = (tokens, *state)
    axes = ({0: torch.export.Dim.AUTO}, *_axes(state))
    _write(_Fill(decoder, names), arguments, ["tokens", *names], ["logits"], axes, fill)
    return [start, fill]


def _export_start(
    model: Model, decoder: Any, inputs: Mapping[str, InputModality], name: str, folder: Path
) -> tuple[list[str], tuple[Tensor, ...], Path]:
    """Write ``<name>.start.onnx``, and return the names of its outputs, their values for an example, and the path."""
    flat = [tensor for modality in inputs.values() for tensor in _example(modality)]
    graph = _Start(model, decoder, list(inputs))
    with torch.no_grad():
        state = graph(*flat)
    names = list(_state(model, decoder, list(inputs), flat))
    path = graph_path(folder, name, "start")
    _write(graph, tuple(flat), _input_names(inputs), names, _input_axes(inputs, flat), path)
    return names, state, path


def export_codec(model: Model, name: str, folder: Path) -> list[Path]:
    """Write ``<name>.tokens.onnx`` and ``<name>.pixels.onnx``; the token grid is saved in the metadata of the second."""
    codec, modality = model.eval().codec(name), model.outputs[name]
    paths = [graph_path(folder, name, "tokens"), graph_path(folder, name, "pixels")]
    image: Any = modality  # every codec belongs to an image
    pixels, tokens = torch.zeros(2, 3, image.size, image.size), torch.zeros(2, codec.grid.length, dtype=torch.long)
    rows = ({0: torch.export.Dim.AUTO},)
    _write(_Method(codec, "encode"), (pixels,), ["pixels"], ["tokens"], rows, paths[0])
    grid = codec.grid
    metadata = {"rows": str(grid.rows), "columns": str(grid.columns), "parts": " ".join(map(str, grid.parts))}
    _write(_Method(codec, "decode"), (tokens,), ["tokens"], ["pixels"], rows, paths[1], metadata)
    return paths


class _Method(nn.Module):
    """A module whose ``forward`` calls another method of a codec."""

    def __init__(self, codec: Codec, method: str) -> None:
        super().__init__()
        self.codec, self.method = codec, method

    def forward(self, *flat: Tensor) -> Tensor:
        return getattr(self.codec, self.method)(*flat)


def export_vector(model: Model, inputs: Mapping[str, InputModality], name: str, folder: Path) -> list[Path]:
    """Write ``<name>.vector.onnx``: it takes the inputs and returns one vector per row."""
    flat = [tensor for modality in inputs.values() for tensor in _example(modality)]
    path = graph_path(folder, name, "vector")
    graph = _Vector(model.eval(), name, list(inputs))
    _write(graph, tuple(flat), _input_names(inputs), ["vector"], _input_axes(inputs, flat), path)
    return [path]


def export_decoder(model: Model, inputs: Mapping[str, InputModality], name: str, folder: Path) -> list[Path]:
    """Write ``<name>.start.onnx`` and ``<name>.step.onnx``; all axes except the widths may vary at run time."""
    model = model.eval()
    decoder = model.decoder(name)
    names, state, start = _export_start(model, decoder, inputs, name, folder)
    grown = _two_beams(decoder, dict(zip(names, state, strict=True)))
    tokens = torch.tensor([[3, 4], [5, 6]])
    step_names = ["tokens", *names]
    outputs = ["logits", *(name + NEXT for name in names if name.startswith("cache."))]
    step = graph_path(folder, name, "step")
    arguments = (tokens, *grown.values())
    _write(_Step(decoder, names), arguments, step_names, outputs, _axes(arguments), step)
    return [start, step]


def export_encoder(encoder: nn.Module, example: Padded, path: Path) -> None:
    """Write what an encoder, or its first part, makes of values and their mask as one graph; only the number of values may vary.

    Args:
        example: two values or more, as arrays.
    """
    arguments = (torch.from_numpy(example.values), torch.from_numpy(example.mask))
    rows = ({0: torch.export.Dim.AUTO},) * 2
    _write(_Described(encoder.eval()), arguments, ["values", "mask"], ["features", "real"], rows, path)


class _Described(nn.Module):
    """Takes values and their mask, and returns features and theirs."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *flat: Tensor) -> tuple[Tensor, Tensor]:
        given = Padded(*flat)
        result = self.encoder.describe(given) if isinstance(self.encoder, TwoPartEncoder) else self.encoder(given)
        return result.values, result.mask


class _Start(nn.Module):
    """Takes the inputs as flat tensors, and returns the tensors of the state."""

    def __init__(self, model: Model, decoder: TextDecoder, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.decoder, self.inputs = model, decoder, inputs

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        return tuple(_state(self.model, self.decoder, self.inputs, flat).values())


class _Vector(nn.Module):
    """Takes the inputs as flat tensors, and returns one vector per row."""

    def __init__(self, model: Model, output: str, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.output, self.inputs = model, output, inputs

    def forward(self, *flat: Tensor) -> Tensor:
        return self.model.vector(_batch(self.inputs, flat), self.output)


class _Step(nn.Module):
    """Takes tokens and the tensors of the state, and returns logits and the new cache."""

    def __init__(self, decoder: TextDecoder, names: list[str]) -> None:
        super().__init__()
        self.decoder, self.names = decoder, names

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        logits, new = self.decoder.step(flat[0], dict(zip(self.names, flat[1:], strict=True)))
        return (logits, *(new[name] for name in self.names if name.startswith("cache.")))


class _Fill(nn.Module):
    """Takes tokens and the tensors of the state, and returns logits."""

    def __init__(self, decoder: MaskedDecoder, names: list[str]) -> None:
        super().__init__()
        self.decoder, self.names = decoder, names

    def forward(self, *flat: Tensor) -> Tensor:
        return self.decoder.fill(flat[0], dict(zip(self.names, flat[1:], strict=True)))


def _state(model: Model, decoder: TextDecoder, inputs: list[str], flat: Any) -> dict[str, Tensor]:
    return decoder.start(model(_batch(inputs, flat)))


def _input_names(inputs: Mapping[str, InputModality]) -> list[str]:
    return [f"{name}.{field}" for name in inputs for field in ("values", "mask", "index")]


def _batch(inputs: list[str], flat: Any) -> Batch:
    given = {
        name: BatchInput(Padded(flat[3 * place], flat[3 * place + 1]), flat[3 * place + 2]) for place, name in enumerate(inputs)
    }
    rows = flat[2].shape[0]
    return Batch(("",) * int(rows) if isinstance(rows, int) else (), given)


def _example(modality: InputModality) -> tuple[Tensor, Tensor, Tensor]:
    """Three distinct values for two rows, so that no two axes have the same size."""
    padded, _ = modality.example()
    return torch.from_numpy(padded.values), torch.from_numpy(padded.mask), torch.tensor([0, 2])


def _two_beams(decoder: TextDecoder, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state in the middle of a text: two beams per row, after three tokens."""
    with torch.no_grad():
        state = decoder.reorder(state, torch.zeros(2, 2, dtype=torch.long))
        for _ in range(3):
            _, state = decoder.step(torch.tensor([[3, 4], [5, 6]]), state)
    return state


def _axes(tensors: Sequence[Tensor]) -> tuple[dict[int, Any], ...]:
    """All axes may vary, unless a size of the model fixes them."""
    automatic = torch.export.Dim.AUTO
    return tuple(dict.fromkeys(range(tensor.ndim), automatic) for tensor in tensors)


def _input_axes(inputs: Mapping[str, InputModality], flat: Sequence[Tensor]) -> tuple[dict[int, Any], ...]:
    """The axes that may vary: the rows, and all axes of a modality whose values differ in length."""
    varying = [modality.example()[1] for modality in inputs.values() for _ in range(3)]
    return tuple(axes if varies else {0: axes[0]} for varies, axes in zip(varying, _axes(flat), strict=True))


def _write(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    axes: tuple[Any, ...],
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, but its own message is less clear
    except ImportError:
        raise UserError(f"export needs the packages onnx and onnxscript: {install_command('onnx')}") from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing, which Braid does not use
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), arguments, input_names=inputs, output_names=outputs, dynamic_shapes=(axes,), dynamo=True, verbose=False
        )
    assert program is not None
    program.model.metadata_props.update(metadata or {})
    kept = {id(value) for value in program.model.graph.outputs}
    for node in program.model.graph:  # ONNX Runtime finds the sizes within a graph itself; those noted here may be the example's
        for value in node.outputs:
            value.shape = value.shape if id(value) in kept else None
    shared_path(path).unlink(missing_ok=True)  # of an earlier graph without weights
    with whole(path) as fresh, utf8_path(fresh) as reachable:
        program.save(str(reachable), external_data=False)
