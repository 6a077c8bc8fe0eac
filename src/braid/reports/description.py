"""Describes the parts of a saved model, as a table and as a Mermaid flowchart, from its files alone; no weights are loaded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import yaml

from braid.bundle import DataCard, bundle_folder, find_bundle, part_of, read_bundle
from braid.config import parse_yaml, to_dict
from braid.errors import UserError
from braid.files import as_written, regular, user_path
from braid.files.tensors import tensor_shapes
from braid.files.text import read_text

RUN = "run.yaml"
CHECKPOINT = "checkpoint.safetensors"
GROUPS = ("encoders", "projections", "decoders", "codecs")
STYLES = (
    ("terminal", "#fffdf9", "#6b645a"),
    ("encoder", "#e3edf7", "#0072b2"),
    ("projection", "#f4f2ee", "#8a8378"),
    ("fusion", "#fbeadd", "#d55e00"),
    ("decoder", "#e2f2ec", "#009e73"),
)


@dataclass(frozen=True)
class Part:
    """One part of a model: ``name`` is its path (``encoders.image``); ``parameters`` is counted in the weights."""

    name: str
    kind: str
    settings: dict[str, Any]
    parameters: int

    @property
    def message(self) -> str:
        """The settings on one line; for a pretrained part, only the family of its architecture."""
        family = {"architecture": self.settings["architecture"]["model_type"]} if "architecture" in self.settings else {}
        return ", ".join(f"{key} {value}" for key, value in {**self.settings, **family}.items() if value != "")


@dataclass(frozen=True)
class Description:
    """A bundle, or a run without a bundle. ``inputs`` and ``outputs`` are the modalities' settings by name."""

    folder: Path
    parts: tuple[Part, ...]
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    tasks: dict[str, Any]
    trained_on: tuple[tuple[str, ...], ...] = ()
    card: DataCard = field(default_factory=DataCard)
    vocab_sizes: dict[str, int] = field(default_factory=dict)  # by tokenizer; empty for a run without a bundle

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.iterdir() if file.is_file())


def describe(model: str | Path) -> Description:
    """Describe a built-in model, a bundle, or a run (its best bundle, or its checkpoint if it has no bundle yet).

    Raises:
        UserError: when ``model`` is none of these, or its files cannot be read.
    """
    folder = user_path(model)
    if bundle_folder(model) is None and (folder / RUN).is_file():
        return describe_checkpoint(folder)
    bundle = read_bundle(find_bundle(model))
    interface = bundle.interface
    shapes = bundle.shapes() if bundle.architecture else {}
    return Description(
        bundle.folder,
        model_parts(bundle.architecture or {}, shapes),
        to_dict(interface.inputs),
        to_dict(interface.outputs),
        interface.tasks,
        interface.trained_on,
        interface.card,
        {name: tokenizer.vocab_size for name, tokenizer in bundle.tokenizers.items()},
    )


def describe_checkpoint(folder: Path) -> Description:
    """Describe a run before the end of its first epoch, from run.yaml and the checkpoint's weights."""
    settings = read_settings(folder)
    if not (folder / CHECKPOINT).is_file():
        raise UserError(f"{folder} has no {CHECKPOINT} yet; wait for the run's first checkpoint, or start it again")
    shapes = tensor_shapes(folder / CHECKPOINT, "model.")
    model = settings["model"]
    with as_written(folder / RUN):
        tasks = {section["task"]["kind"]: section["task"] for section in (settings, *settings.get("tasks", []))}
        inputs = {name: settings["inputs"][name] for name in model["encoders"]}
        outputs = {name: settings["outputs"][name] for name in {**model["decoders"], **model.get("codecs", {})}}
        return Description(folder, model_parts(model, shapes), inputs, outputs, tasks)


def read_settings(folder: Path) -> dict[str, Any]:
    """A run's settings as nested dicts; settings that this version of Braid does not know are kept.

    Raises:
        UserError: when ``folder`` has no run.
    """
    path = regular(folder / RUN)
    try:
        settings = parse_yaml(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is no run: it has no {RUN}; give the --output folder of braid train") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); copy it again") from None
    if not isinstance(settings, dict) or not all(isinstance(settings.get(key), dict) for key in ("task", "data", "model")):
        raise UserError(f"{path} is not a run; it needs the sections task, data and model")
    return settings


def model_parts(architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Part, ...]:
    """Encoders, projections, fusion, decoders and codecs, with their settings in model.json and numbers of parameters."""
    counts: dict[str, int] = {}
    for name, shape in shapes.items():
        counts[part_of(name)] = counts.get(part_of(name), 0) + prod(shape)
    result = []
    for group in (*GROUPS[:2], "fusion", *GROUPS[2:]):
        members = {"fusion": architecture.get("fusion", {})} if group == "fusion" else _members(group, architecture, shapes)
        for name, settings in members.items():
            rest = {key: value for key, value in settings.items() if key != "kind"}
            result.append(Part(name, settings.get("kind", ""), rest, counts.get(name, 0)))
    return tuple(result)


def _members(group: str, architecture: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Any]]:
    if group != "projections":
        return {f"{group}.{name}": part for name, part in architecture.get(group, {}).items()}
    linears = {name: shapes.get(f"projections.{name}.linear.weight") for name in architecture.get("encoders", {})}
    # A weight's shape is [out, in].
    return {f"projections.{n}": {"kind": "linear", "reads": s[1], "width": s[0]} for n, s in linears.items() if s}


def flowchart(description: Description) -> str:
    """A Mermaid flowchart. Labels show kind, main sizes and parameters; nodes have numbers as ids, so any name is allowed.

    Raises:
        UserError: for an ONNX bundle without information about its parts.
    """
    if len(description.parts) == 1:
        raise UserError(f"{description.folder} has no model.json; it runs on ONNX only, and there are no parts to draw")
    nodes: list[str] = []
    arrows: list[str] = []
    by_name = {part.name: part for part in description.parts}
    for k, (name, modality) in enumerate(description.inputs.items()):
        nodes.append(f"    input{k}([{_end(name, modality)}]):::terminal")
        nodes.append(f"    encoder{k}[{_box(by_name[f'encoders.{name}'])}]:::encoder")
        nodes.append(f"    projection{k}[{_box(by_name[f'projections.{name}'])}]:::projection")
        arrows.append(f"    input{k} --> encoder{k} --> projection{k} --> fusion")
    start = ["fusion"] if description.inputs else []  # a lone codec has no inputs
    if start:
        nodes.append(f"    fusion{{{{{_box(by_name['fusion'])}}}}}:::fusion")
    lent = [by_name[f"encoders.{name}"].settings.get("codec") for name in description.inputs]  # codecs that encoders read
    for k, (name, modality) in enumerate(description.outputs.items()):
        way = [f"{group}{k}" for group in ("decoder", "codec") if f"{group}s.{name}" in by_name]
        arrows += [f"    codec{k} --> encoder{reader}" for reader, read in enumerate(lent) if read == name]
        if start and way[0].startswith("codec"):  # this codec generates no images
            nodes.append(f"    codec{k}[{_box(by_name[f'codecs.{name}'])}]:::encoder")
            continue
        nodes += [f"    {node}[{_box(by_name[f'{node.removesuffix(str(k))}s.{name}'])}]:::decoder" for node in way]
        nodes.append(f"    output{k}([{_end(name, modality)}]):::terminal")
        arrows.append(f"    {' --> '.join([*start, *way, f'output{k}'])}")
    styles = [f"    classDef {name} fill:{fill},stroke:{stroke},color:#24211d" for name, fill, stroke in STYLES]
    return "\n".join(["flowchart LR", *nodes, *arrows, *styles])


def _box(part: Part) -> str:
    """The label of a part: kind in bold, sizes and choices, parameters. Dropout and switches are only in the table."""
    role = part.name.partition(".")[0].removesuffix("s")
    title = f"{part.kind} {role}" if part.kind else role
    return _label(title, *_sizes(part.settings), f"{count(part.parameters)} parameters")


def _end(name: str, modality: dict[str, Any]) -> str:
    """The label of an input or output: name in bold, modality (if its name differs), sizes."""
    kind = [modality["kind"]] if modality["kind"] != name else []
    return _label(name, *kind, *_sizes({key: value for key, value in modality.items() if type(value) is int}))


def _sizes(settings: dict[str, Any]) -> list[str]:
    kept = {key: value for key, value in settings.items() if isinstance(value, str) or type(value) is int}
    return [f"{key.replace('_', ' ')} {value}" for key, value in kept.items()]


def count(number: int) -> str:
    """Format a number: 12,345, or 12.35 M from a million on."""
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number:,}"


def _label(first: str, *others: str) -> str:
    """A quoted label of several lines, the first in bold; characters with a meaning in Mermaid or HTML become entities."""
    return '"' + "<br/>".join([f"<b>{_plain(first)}</b>", *map(_plain, others)]) + '"'


def _plain(text: str) -> str:
    """Escape a text for Mermaid: letters, digits, spaces, commas and decimal points are kept, everything else becomes #code;."""
    return re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w .,]|_", lambda result: f"#{ord(result[0])};", text)
