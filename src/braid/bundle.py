"""The files of one saved model: read, write, check.

A bundle is a folder: interface.json (what goes in and out), model.json (architecture), model.safetensors and/or
*.onnx (weights), tokenizer.json (and one for each pretrained
part that reads or writes text). Never pickle; every JSON file of Braid's own carries a format number.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from braid.config import from_dict, parse_json, plain_names, to_dict
from braid.errors import UserError
from braid.files import settle, whole, write_whole
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
TRAINING_ONLY = ("dropout", "_probability")  # endings of settings of parts that have no meaning in use
FITTED = ("calibration", "temperature")  # settings of tasks that were measured on a model's weights
STRIDE = 1 << 15  # numbers at a time, which stay in a processor's cache
# what a float has more of mantissa than a half float; its sign, exponent and mantissa as far as half's; 2 ** (127 - 15)
MANTISSA, KEPT, EXPONENT = 23 - 10, np.int32(~0x70001FFF), np.float32(2.0**112)
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


@dataclass(frozen=True)
class Interface:
    """All that tasks, api and both runtimes need to know of a model, apart from its architecture.

    ``tasks`` maps a task's name to its settings (prompt, generation), read by ``braid.tasks``; ``trained_on`` lists
    the subsets of inputs that the model has seen together.
    """

    inputs: dict[str, InputModalityConfig]
    outputs: dict[str, OutputModalityConfig]
    tasks: dict[str, Any]
    trained_on: tuple[tuple[str, ...], ...] = ()
    card: DataCard = field(default_factory=DataCard)

    def __post_init__(self) -> None:
        plain_names("an input", self.inputs)
        plain_names("an output", self.outputs)
        names = tokenizer_names(self.outputs)
        if len(names) > 1:
            raise UserError(f"the outputs write with the tokenizers {' and '.join(names)}; give them one")


@dataclass(frozen=True)
class Bundle:
    """One saved model, its weights still on disk."""

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
        """That of the texts which the model writes; of those that it reads, where it writes none."""
        names = tokenizer_names(self.interface.outputs, self.interface.inputs)
        return self.tokenizers[names[0]] if names else None

    def weights(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Parameters by name, float32 (the file may hold float16).

        Args:
            names: only those asked for; the others stay on disk, for the file is mapped.
        """
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise UserError(f"{self.folder} has no {WEIGHTS}; this bundle runs on ONNX only")
        try:
            with safe_open(path, "np") as mapped:
                tensors = {name: mapped.get_tensor(name) for name in (mapped.keys() if names is None else names)}
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); it may be cut short, copy it again") from None
        for name, tensor in tensors.items():
            if not _all_finite(tensor):
                raise UserError(f"{path}: {name} holds values that are no numbers; copy it again, or train again")
        return {name: _single(tensor) for name, tensor in tensors.items()}


def bundle_folder(model: str | Path) -> Path | None:
    """The folder that a built-in name, a bundle's folder or a run's folder (its best model) means; None if there is none."""
    path = Path(model).expanduser()
    places = (BUILT_IN / str(model), path, path / "best") if str(model) else ()
    for parent in {path.parent, path} if path.name and not (path / "interface.json").is_file() else ():
        settle(parent)  # a process killed while it replaced the bundle
    return next((folder for folder in places if (folder / "interface.json").is_file()), None)


def find_bundle(model: str | Path) -> Path:
    """``bundle_folder``, where there has to be one."""
    folder = bundle_folder(model)
    if folder is None:
        built_in = sorted(place.name for place in BUILT_IN.glob("*") if (place / "interface.json").is_file())
        names = ", ".join(built_in) or "none"
        raise UserError(f"there is no model {str(model)!r}: neither a folder with interface.json nor built in ({names})")
    return folder


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's descriptions; weights are read when asked for.

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
    """Write all files aside, then swap them in: a killed process leaves the old bundle or the new one.

    Args:
        tokenizers: by the name under which the interface's texts ask for them.
        half: store float32 weights as float16, at half the size.
    """
    with whole(folder) as fresh:
        fresh.mkdir()
        names = tokenizer_names(interface.inputs, interface.outputs)
        write_descriptions(fresh, interface, {name: tokenizers[name] for name in names})
        (fresh / "model.json").write_text(_json({"format": FORMAT, **architecture}), encoding="utf-8")
        save_file({name: _stored(value, half) for name, value in weights.items()}, fresh / WEIGHTS)
        os.chmod(fresh / WEIGHTS, 0o644)  # safetensors leaves it to its owner alone


def write_descriptions(folder: Path, interface: Interface, tokenizers: Mapping[str, Tokenizer]) -> None:
    """What a bundle says of itself: all that a folder of graphs needs beside them."""
    write_whole(folder / "interface.json", _json({"format": FORMAT, **to_dict(interface)}))
    for name, tokenizer in tokenizers.items():
        write_whole(folder / f"{name}.json", tokenizer.to_json())


def average(bundles: Sequence[Bundle], folder: Path, half: bool = False) -> None:
    """Write the model whose every parameter is the mean of the bundles' (arXiv:1803.05407, arXiv:2203.05482).

    Its interface is the first's, without what was measured on other weights: scores and calibration.

    Raises:
        UserError: naming the bundle that differs from the first in architecture, tokenizer or preprocessing.
    """
    if len(bundles) < 2:
        raise UserError("a mean needs two models or more; give their folders")
    first, total = bundles[0], bundles[0].weights()
    for bundle in bundles[1:]:
        if what := _difference(first, bundle):
            raise UserError(f"{bundle.folder} differs from {first.folder} in its {what}; models to average must agree in it")
        total = {name: total[name] + value for name, value in bundle.weights().items()}
    weights = {name: (value / len(bundles)).astype(value.dtype) for name, value in total.items()}
    tasks = {name: {k: v for k, v in task.items() if k not in FITTED} for name, task in first.interface.tasks.items()}
    card = replace(first.interface.card, scores={}, scored_on="")
    interface = replace(first.interface, tasks=tasks, card=card)
    assert first.architecture is not None  # _difference saw to it
    write_bundle(folder, interface, first.tokenizers, first.architecture, weights, half)


def _difference(first: Bundle, other: Bundle) -> str:
    """In what two models cannot be averaged; nothing if they can."""
    if first.architecture is None or _in_use(first.architecture) != _in_use(other.architecture):
        return "architecture (model.json)"
    if any(text.to_json() != other.tokenizers[name].to_json() for name, text in first.tokenizers.items()):
        return "tokenizer"
    sides = [(bundle.interface.inputs, bundle.interface.outputs) for bundle in (first, other)]
    return "" if sides[0] == sides[1] else "inputs or outputs (interface.json)"


def _in_use(architecture: Any) -> Any:
    """An architecture without what is left to chance in training alone."""
    if not isinstance(architecture, Mapping):
        return architecture
    return {
        name: _in_use(value)
        for name, value in architecture.items()
        if not name.endswith(TRAINING_ONLY) or isinstance(value, Mapping)  # an input may have such a name
    }


def write_scores(bundle: Bundle, scores: Mapping[str, float], scored_on: str) -> None:
    """Put measured figures into a saved model's data card."""
    rounded = {name: round(value, 2) for name, value in scores.items()}
    card = replace(bundle.interface.card, scores=rounded, scored_on=scored_on)
    write_interface(bundle, replace(bundle.interface, card=card))


def write_task(bundle: Bundle, task: Any) -> None:
    """Change the settings with which a saved model does one of its tasks."""
    tasks = {**bundle.interface.tasks, task.kind: to_dict(task)}
    write_interface(bundle, replace(bundle.interface, tasks=tasks))


def write_interface(bundle: Bundle, interface: Interface) -> None:
    write_descriptions(bundle.folder, interface, {})


def _stored(value: np.ndarray, half: bool) -> np.ndarray:
    stored = value.astype(np.float16) if half and value.dtype == np.float32 else value
    if not _all_finite(stored):
        raise UserError("a weight is not a finite number in the chosen precision; save it in float32 or train again")
    return np.asarray(stored, order="C")  # unlike ascontiguousarray, leaves a scalar one


def _all_finite(tensor: np.ndarray) -> bool:
    if tensor.dtype == np.float16:  # by its bits: a quarter of the time, and the start of every command waits for it
        return not tensor.size or int((tensor.view(np.uint16) & 0x7FFF).max()) < 0x7C00
    return tensor.dtype.kind != "f" or bool(np.isfinite(tensor).all())


def _single(tensor: np.ndarray) -> np.ndarray:
    """Finite half floats as floats, by their bits: numpy's own way takes seven times as long (2.5)."""
    if tensor.dtype != np.float16:
        return tensor
    single = np.empty(tensor.shape, np.float32)
    halves, bits = tensor.reshape(-1).view(np.int16), single.reshape(-1).view(np.int32)
    for first in range(0, len(bits), STRIDE):
        part = bits[first : first + STRIDE]
        part[:] = halves[first : first + STRIDE]
        part <<= MANTISSA  # the sign came along 16 times, the other bits now stand where a float has them
        part &= KEPT
        part.view(np.float32)[:] *= EXPONENT
    return single


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; the folder is not a complete model") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); copy it again") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = parse_json(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error}); copy it again") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not of format {FORMAT}, the one this version of Braid reads; update Braid or save it again")
    return data


def _architecture(path: Path) -> dict[str, Any]:
    """model.json as far as it can be checked without torch: parts by name."""
    result = _read_json(path)
    parts = [result.get("fusion")]
    for group in ("encoders", "decoders", "codecs"):
        members = result.get(group, {} if group == "codecs" else None)
        parts += members.values() if isinstance(members, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{path} does not describe encoders, fusion and decoders; copy it again")
    return result


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
