"""Bundles: the files of one saved model.

A bundle is a folder: interface.json (inputs and outputs), model.json (architecture), model.safetensors and/or *.onnx (weights),
tokenizer.json (and one for each pretrained part that reads or writes text). Nothing is pickled; every JSON file of Braid has a
format number.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braid.config import from_dict, plain_names, to_dict
from braid.errors import UserError
from braid.files import read_json, regular, replaced, user_path, whole, write_whole
from braid.files.foreign import START, foreign, told
from braid.modalities import (
    InputModality,
    InputModalityConfig,
    OutputModality,
    OutputModalityConfig,
    Tokenizer,
    build_modalities,
    tokenizer_names,
)

FORMAT = 1
WEIGHTS = "model.safetensors"
TRAINING_ONLY = ("dropout", "_probability")  # suffixes of settings that only training uses
FITTED = ("calibration", "temperature")  # settings of tasks that were fitted on a model's predictions
NUMBERS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # in safetensors, that numpy reads
STRIDE = 1 << 15  # numbers that are converted at once, so that they fit into the CPU cache
# the extra mantissa bits of float32; a mask of the sign, exponent and mantissa bits of float16; 2 ** (127 - 15)
MANTISSA, KEPT, EXPONENT = 23 - 10, np.int32(~0x70001FFF), np.float32(2.0**112)
INCOMPLETE = "the folder is not a complete model"
BUILT_IN = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class Source:
    """Data or weights that a model was made from.

    Args:
        name: what it is called.
        use: what it was used for.
        terms: its licence or terms of use.
    """

    name: str
    use: str
    terms: str


@dataclass(frozen=True)
class DataCard:
    """Where a model comes from and how well it does; shown by ``braid inspect``.

    Args:
        name: the model's name.
        description: what it does, and what it was trained on.
        terms: on what terms it may be used.
        sources: data and weights that it was made from.
        scores: metrics by name; ``braid evaluate --record`` writes them.
        scored_on: the data, split and search that the scores were measured with.
    """

    name: str = ""
    description: str = ""
    terms: str = ""
    sources: tuple[Source, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    scored_on: str = ""

    def __post_init__(self) -> None:
        if "cider-d" in self.scores:
            raise UserError("scores has 'cider-d', which is called cider now; what was cider is cider-2015")


@dataclass(frozen=True)
class Interface:
    """Everything that tasks, the API and the runtimes need to know of a model, except its architecture.

    ``tasks`` maps the name of a task to its settings (prompt, generation), which ``braid.tasks`` reads. ``trained_on`` lists the
    subsets of inputs that occurred together in training, and ``data`` names the files or folders that it was trained on.
    """

    inputs: dict[str, InputModalityConfig]
    outputs: dict[str, OutputModalityConfig]
    tasks: dict[str, Any]
    trained_on: tuple[tuple[str, ...], ...] = ()
    card: DataCard = field(default_factory=DataCard)
    data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        plain_names("an input", self.inputs)
        plain_names("an output", self.outputs)
        names = tokenizer_names(self.outputs)
        if len(names) > 1:
            raise UserError(f"the outputs write with the tokenizers {' and '.join(names)}; give them one")


@dataclass(frozen=True, eq=False)
class Bundle:
    """One saved model; its weights stay on disk until they are read."""

    folder: Path
    interface: Interface
    tokenizers: Mapping[str, Tokenizer]
    architecture: dict[str, Any] | None

    @cached_property
    def inputs(self) -> dict[str, InputModality]:
        return build_modalities(self.interface.inputs, self.tokenizers)

    @cached_property
    def outputs(self) -> dict[str, OutputModality]:
        return build_modalities(self.interface.outputs, self.tokenizers)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the texts that the model writes, or of those that it reads if it writes none."""
        names = tokenizer_names(self.interface.outputs, self.interface.inputs)
        return self.tokenizers[names[0]] if names else None

    def weights(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Read parameters by name, as float32 (the file may hold float16 or bfloat16).

        Args:
            names: the parameters to read; by default all.
        Raises:
            UserError: when the file is missing or damaged, or a value is not finite.
        """
        path = regular(self.folder / WEIGHTS, math.inf)
        if not path.is_file():
            raise UserError(f"{self.folder} has no {WEIGHTS}; this bundle runs on ONNX only")
        try:
            with safe_open(path, "np") as mapped:
                tensors = {name: _tensor(mapped, path, name) for name in (mapped.keys() if names is None else names)}
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(told(path, f"cannot be read ({error}); it may be cut short, copy it again")) from None
        for name, tensor in tensors.items():
            if not _all_finite(tensor):
                raise UserError(f"{path}: {name} contains values that are not numbers; copy it again, or train again")
        return {name: _single(tensor) for name, tensor in tensors.items()}


def bundle_folder(model: str | Path) -> Path | None:
    """The folder of a model, by the name of a built-in model, its folder, or a run's folder (its best model); None if there is
    none."""
    path = user_path(model)
    places = (BUILT_IN / str(model), path, path / "best") if str(model) else ()
    found = next((folder for folder in places if (folder / "interface.json").is_file()), None)
    if found is None and path.name:
        return next((old for place in places[1:] if (old := replaced(place)) and (old / "interface.json").is_file()), None)
    return found


def find_bundle(model: str | Path) -> Path:
    """Like ``bundle_folder``, but raises ``UserError`` if there is no model."""
    folder = bundle_folder(model)
    if folder is None:
        built_in = sorted(place.name for place in BUILT_IN.glob("*") if (place / "interface.json").is_file())
        names = ", ".join(built_in) or "none"
        raise UserError(f"there is no model {str(model)!r}: neither a folder with interface.json nor built in ({names})")
    return folder


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle without its weights.

    Raises:
        UserError: naming the file that is missing, unreadable or of another format.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; a model is a folder with interface.json in it")
    interface: Interface = from_dict(Interface, _read_json(folder / "interface.json"), str(folder / "interface.json"))
    names = tokenizer_names(interface.outputs, interface.inputs)
    paths = {name: folder / f"{name}.json" for name in names}
    tokenizers = {name: Tokenizer.from_json(_read_text(path), str(path)) for name, path in paths.items()}
    architecture = _architecture(folder / "model.json") if (folder / "model.json").exists() else None
    return Bundle(folder, interface, tokenizers, architecture)


def write_bundle(
    folder: Path,
    interface: Interface,
    tokenizers: Mapping[str, Tokenizer],
    architecture: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    half: bool = False,
) -> None:
    """Write a bundle atomically: a killed process leaves the old bundle or the new one.

    Args:
        tokenizers: the tokenizers, by the names that the interface uses.
        half: store float32 weights as float16.
    """
    with whole(folder) as fresh:
        fresh.mkdir()
        names = tokenizer_names(interface.inputs, interface.outputs)
        write_descriptions(fresh, interface, {name: tokenizers[name] for name in names})
        write_whole(fresh / "model.json", _json({"format": FORMAT, **architecture}))
        save_file({name: _stored(value, half) for name, value in weights.items()}, fresh / WEIGHTS)
        os.chmod(fresh / WEIGHTS, 0o644)  # safetensors makes it readable for the owner only


def write_descriptions(folder: Path, interface: Interface, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Write interface.json and the tokenizers, which a folder of graphs needs beside the graphs."""
    write_whole(folder / "interface.json", _json({"format": FORMAT, **to_dict(interface)}))
    for name, tokenizer in tokenizers.items():
        write_whole(folder / f"{name}.json", tokenizer.to_json())


def average(bundles: Sequence[Bundle], folder: Path, half: bool = False) -> None:
    """Write a model whose parameters are the means of the bundles' parameters (arXiv:1803.05407, arXiv:2203.05482).

    Its interface is that of the first bundle, without scores and calibration, which belong to other weights.

    Raises:
        UserError: naming the bundle that differs from the first in architecture, tokenizer or preprocessing.
    """
    if len(bundles) < 2:
        raise UserError("averaging needs two or more models; give their folders")
    first, total = bundles[0], bundles[0].weights()
    for bundle in bundles[1:]:
        if what := _difference(first, bundle):
            raise UserError(f"{bundle.folder} differs from {first.folder} in its {what}; all models must have the same")
        total = {name: total[name] + value for name, value in bundle.weights().items()}
    weights = {name: (value / len(bundles)).astype(value.dtype) for name, value in total.items()}
    tasks = {name: {k: v for k, v in task.items() if k not in FITTED} for name, task in first.interface.tasks.items()}
    card = replace(first.interface.card, scores={}, scored_on="")
    data = tuple(dict.fromkeys(name for bundle in bundles for name in bundle.interface.data))
    interface = replace(first.interface, tasks=tasks, card=card, data=data)
    assert first.architecture is not None  # checked by _difference
    write_bundle(folder, interface, first.tokenizers, first.architecture, weights, half)


def _difference(first: Bundle, other: Bundle) -> str:
    """The part in which two models differ, so that they cannot be averaged; "" if they can."""
    if first.architecture is None or _in_use(first.architecture) != _in_use(other.architecture):
        return "architecture (model.json)"
    if any(text.to_json() != other.tokenizers[name].to_json() for name, text in first.tokenizers.items()):
        return "tokenizer"
    sides = [(bundle.interface.inputs, bundle.interface.outputs) for bundle in (first, other)]
    return "" if sides[0] == sides[1] else "inputs or outputs (interface.json)"


def _in_use(architecture: Any) -> Any:
    """An architecture without the settings that only training uses."""
    if not isinstance(architecture, Mapping):
        return architecture
    return {
        name: _in_use(value)
        for name, value in architecture.items()
        if not name.endswith(TRAINING_ONLY) or isinstance(value, Mapping)  # an input may have a name with such a suffix
    }


def card_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics for a data card, rounded; those that are not defined are left out."""
    return {name: round(value, 2) for name, value in metrics.items() if math.isfinite(value)}


def write_scores(bundle: Bundle, scores: Mapping[str, float], scored_on: str) -> None:
    """Write scores to the data card of a saved model."""
    card = replace(bundle.interface.card, scores=card_scores(scores), scored_on=scored_on)
    write_interface(bundle, replace(bundle.interface, card=card))


def write_task(bundle: Bundle, task: Any) -> None:
    """Change the settings of one task of a saved model."""
    tasks = {**bundle.interface.tasks, task.kind: to_dict(task)}
    write_interface(bundle, replace(bundle.interface, tasks=tasks))


def write_interface(bundle: Bundle, interface: Interface) -> None:
    write_descriptions(bundle.folder, interface, {})


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


def _read_text(path: Path) -> str:
    try:
        text = regular(path).read_text(encoding="utf-8")
        if kind := foreign(text[:START].encode()):
            raise UserError(f"{path} {kind}")
        return text
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {INCOMPLETE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(told(path, f"cannot be read ({error}); copy it again")) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {INCOMPLETE}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise UserError(
            f"{path} does not have format {FORMAT}, which this version of Braid reads; update Braid or save the model again"
        )
    return data


def _architecture(path: Path) -> dict[str, Any]:
    """Read model.json, with the checks that work without torch."""
    result = _read_json(path)
    parts = [result.get("fusion")]
    for group in ("encoders", "decoders", "codecs"):
        members = result.get(group, {} if group == "codecs" else None)
        parts += members.values() if isinstance(members, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{path} does not describe encoders, fusion and decoders; copy it again")
    return result


def _json(data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise UserError(
            "a setting of the model is nan or infinite, so that it cannot be saved; train or calibrate again"
        ) from None
