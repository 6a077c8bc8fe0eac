"""The files of one saved model: read, write, check.

A bundle is a folder: interface.json (what goes in and out), model.json (architecture), model.safetensors and/or
*.onnx (weights), tokenizer.json. Never pickle; every file carries a format number.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from braid.config import from_dict, parse_json, to_dict
from braid.errors import UserError
from braid.modalities import Modality, ModalityConfig, Tokenizer

FORMAT = 1
WEIGHTS = "model.safetensors"
BUILT_IN = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class Source:
    """Data or weights that a model was made from, and on what terms."""

    name: str
    use: str
    terms: str


@dataclass(frozen=True)
class DataCard:
    """Where a model comes from and how well it does; shown by ``braid inspect``."""

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

    inputs: dict[str, ModalityConfig]
    outputs: dict[str, ModalityConfig]
    tasks: dict[str, Any]
    trained_on: tuple[tuple[str, ...], ...] = ()
    card: DataCard = field(default_factory=DataCard)


@dataclass(frozen=True)
class Bundle:
    """One saved model, its weights still on disk."""

    folder: Path
    interface: Interface
    tokenizer: Tokenizer
    architecture: dict[str, Any] | None

    @cached_property
    def inputs(self) -> dict[str, Modality]:
        return {name: config.build(self.tokenizer) for name, config in self.interface.inputs.items()}

    @cached_property
    def outputs(self) -> dict[str, Modality]:
        return {name: config.build(self.tokenizer) for name, config in self.interface.outputs.items()}

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters by name, float32 (the file may hold float16)."""
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise UserError(f"{self.folder} has no {WEIGHTS}; this bundle runs on ONNX only")
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); it may be cut short, copy it again") from None
        return {name: _single(tensor) for name, tensor in tensors.items()}


def bundle_folder(model: str | Path) -> Path | None:
    """The folder that a built-in name, a bundle's folder or a run's folder (its best model) means; None if there is none."""
    path = Path(model).expanduser()
    places = (BUILT_IN / str(model), path, path / "best") if str(model) else ()
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
    text = _read_text(folder / "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_json(text)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    architecture = _read_json(folder / "model.json") if (folder / "model.json").exists() else None
    return Bundle(folder, interface, tokenizer, architecture)


def write_bundle(
    folder: Path,
    interface: Interface,
    tokenizer: Tokenizer,
    architecture: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    half: bool = False,
) -> None:
    """Write all files beside ``folder``, then swap them in: a killed process leaves the old bundle or the new one.

    Args:
        half: store float32 weights as float16, at half the size.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_json(fresh / "interface.json", {"format": FORMAT, **to_dict(interface)})
        _write_json(fresh / "model.json", {"format": FORMAT, **architecture})
        (fresh / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        save_file({name: _stored(value, half) for name, value in weights.items()}, fresh / WEIGHTS)
        os.chmod(fresh / WEIGHTS, 0o644)  # safetensors leaves it to its owner alone
        _swap(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def write_scores(bundle: Bundle, scores: Mapping[str, float], scored_on: str) -> None:
    """Put measured figures into a saved model's data card."""
    rounded = {name: round(value, 2) for name, value in scores.items()}
    card = replace(bundle.interface.card, scores=rounded, scored_on=scored_on)
    path = bundle.folder / "interface.json"
    fresh = path.with_suffix(".part")
    _write_json(fresh, {"format": FORMAT, **to_dict(replace(bundle.interface, card=card))})
    os.replace(fresh, path)


def _swap(fresh: Path, folder: Path) -> None:
    os.chmod(fresh, 0o755)
    if not folder.exists():
        os.rename(fresh, folder)
        return
    old = fresh.with_name(fresh.name + "-old")
    os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old)


def _stored(value: np.ndarray, half: bool) -> np.ndarray:
    stored = value.astype(np.float16) if half and value.dtype == np.float32 else value
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise UserError("a weight is not a finite number in the chosen precision; save it in float32 or train again")
    return np.asarray(stored, order="C")  # unlike ascontiguousarray, leaves a scalar one


def _single(tensor: np.ndarray) -> np.ndarray:
    return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor


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


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
