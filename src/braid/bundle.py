"""Bundles: the files of one saved model.

A bundle is a folder: interface.json (inputs and outputs), model.json (architecture), model.safetensors and/or *.onnx (weights),
tokenizer.json (and one for each pretrained part that reads or writes text). Nothing is pickled; every JSON file of Braid has a
format number.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from braid.config import did_you_mean, from_dict, plain_names, to_dict
from braid.errors import UserError
from braid.files import read_json, regular, replaced, user_path, whole, write_whole
from braid.files.foreign import START, foreign, told
from braid.files.tensors import fits_half, read_tensors, tensor_shapes, write_tensors
from braid.modalities import (
    AudioModalityConfig,
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
FITTED = ("calibration", "calibrations", "hints", "temperature")  # settings of tasks that were fitted on what a model gives
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
class Base:
    """A model of which another one has parts, unchanged, and does not store them again.

    Args:
        model: the name of a built-in model, or the path of a folder from the model's own.
        hash: of its weights: others are not taken in their place.
        parts: such as ``encoders.image``: of these, what the model's own file lacks is the base's.
    """

    model: str
    hash: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Interface:
    """Everything that tasks, the API and the runtimes need to know of a model, except its architecture.

    ``tasks`` maps the name of a task to its settings (prompt, generation), which ``braid.tasks`` reads. ``trained_on`` lists the
    subsets of inputs that occurred together in training, and ``data`` names the files or folders that it was trained on.
    ``base`` has the weights that the model's own folder leaves out.
    """

    inputs: dict[str, InputModalityConfig]
    outputs: dict[str, OutputModalityConfig]
    tasks: dict[str, Any]
    trained_on: tuple[tuple[str, ...], ...] = ()
    card: DataCard = field(default_factory=DataCard)
    data: tuple[str, ...] = ()
    base: Base | None = None

    def __post_init__(self) -> None:
        plain_names("an input", self.inputs)
        plain_names("an output", self.outputs)
        names = tokenizer_names(self.outputs)
        if len(names) > 1:
            raise UserError(f"the outputs write with the tokenizers {' and '.join(names)}; give them one")
        clips = [name for name, config in self.inputs.items() if config.kind == "video"]
        for name, config in self.inputs.items():
            if isinstance(config, AudioModalityConfig) and config.sound_of not in ("", *clips):
                known = did_you_mean(config.sound_of, clips) if clips else "this model reads no clips, so leave it out"
                raise UserError(f"inputs.{name}.sound_of is {config.sound_of!r}; {known}")


@dataclass(frozen=True, eq=False)
class Bundle:
    """One saved model; its weights stay on disk until they are read."""

    folder: Path
    interface: Interface
    tokenizers: Mapping[str, Tokenizer]
    architecture: dict[str, Any] | None

    def __repr__(self) -> str:
        own = self.interface
        return f"Bundle({str(self.folder)!r}: {', '.join(own.inputs)} -> {', '.join(own.outputs)}; {', '.join(own.tasks)})"

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
        """Read parameters by name, as float32 (the file may hold float16 or bfloat16), also those that the base has.

        Args:
            names: the parameters to read; by default all.
        Raises:
            UserError: when the file is missing or damaged, a value is not finite, or the base is not there or another one.
        """
        path = regular(self.folder / WEIGHTS, math.inf)
        if not path.is_file():
            raise UserError(f"{self.folder} has no {WEIGHTS}; this bundle runs on ONNX only")
        if self.base is None:
            return read_tensors(path, names)
        wanted = set(self.shapes() if names is None else names)
        return read_tensors(path, wanted - self.taken) | self.base.weights(wanted & self.taken)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all parameters by name, also of those that the base has, without reading their values."""
        own = tensor_shapes(self.folder / WEIGHTS)
        theirs = self.base.shapes() if self.base is not None else {}
        return own | {name: theirs[name] for name in self.taken}

    @cached_property
    def taken(self) -> frozenset[str]:
        """The parameters that the base has and this model's own file does not."""
        base = self.interface.base
        if base is None or self.base is None:
            return frozenset()
        own = tensor_shapes(self.folder / WEIGHTS)
        return frozenset(name for name in self.base.shapes() if part_of(name) in base.parts and name not in own)

    @cached_property
    def base(self) -> "Bundle | None":
        """The model whose parts this one has.

        Raises:
            UserError: when it is not there, or has other weights than when this one was saved.
        """
        base = self.interface.base
        if base is None:
            return None
        folder = bundle_folder(base.model if (BUILT_IN / base.model).is_dir() else self.folder / base.model)
        if folder is None or not (folder / WEIGHTS).is_file():
            raise UserError(f"{self.folder} has parts of the model {base.model!r}, which is not there; put it there again")
        if fingerprint(folder) != base.hash:
            raise UserError(f"{self.folder} has parts of the model {base.model!r}, whose weights have changed; save it again")
        return read_bundle(folder)


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


def part_of(parameter: str) -> str:
    """The part of a model that a parameter belongs to: ``fusion``, ``encoders.image``."""
    return "fusion" if parameter.startswith("fusion.") else ".".join(parameter.split(".")[:2])


def fingerprint(folder: Path) -> str:
    """A hash of a folder's weights."""
    with open(folder / WEIGHTS, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        write_tensors(fresh / WEIGHTS, weights, half)


def write_descriptions(folder: Path, interface: Interface, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Write interface.json and the tokenizers, which a folder of graphs needs beside the graphs."""
    write_whole(folder / "interface.json", _json({"format": FORMAT, **to_dict(interface)}))
    for name, tokenizer in tokenizers.items():
        write_whole(folder / f"{name}.json", tokenizer.to_json())


def write_without(bundle: Bundle, base: str, folder: Path) -> None:
    """Write a model without the parts that another model has, too. The folder needs that model wherever it is used.

    Args:
        base: the name of a built-in model, or a folder.
    Raises:
        UserError: when the two have no part in common, or the model has no weights.
    """
    other = read_bundle(find_bundle(base))
    own, theirs = bundle.weights(), other.weights()
    same = {name for name, value in theirs.items() if name in own and np.array_equal(value, own[name])}
    unlike = {part_of(name) for name, value in theirs.items() if name not in own or (name not in same and value.ndim > 1)}
    parts = tuple(sorted({part_of(name) for name in same} - unlike))
    if not parts or bundle.architecture is None:
        raise UserError(f"{bundle.folder} has no part with the weights of {base}; leave the base out")
    kept = {name: value for name, value in own.items() if name not in same or part_of(name) not in parts}
    place = other.folder.name if other.folder.parent == BUILT_IN else os.path.relpath(other.folder.resolve(), folder.resolve())
    interface = replace(bundle.interface, base=Base(place, fingerprint(other.folder), parts))
    write_bundle(folder, interface, bundle.tokenizers, bundle.architecture, kept, half=fits_half(kept))


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
