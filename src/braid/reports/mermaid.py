"""A model as a Mermaid flowchart, which GitHub draws: inputs -> encoders -> projections -> fusion -> decoders -> outputs."""

import re
from typing import Any

from braid.errors import UserError
from braid.reports.description import Description, Part

STYLES = (
    ("terminal", "#fffdf9", "#6b645a"),
    ("encoder", "#e3edf7", "#0072b2"),
    ("projection", "#f4f2ee", "#8a8378"),
    ("fusion", "#fbeadd", "#d55e00"),
    ("decoder", "#e2f2ec", "#009e73"),
)


def flowchart(description: Description) -> str:
    """Mermaid source. A label shows kind, main sizes and parameters; node ids are numbered, so no name can break one.

    Raises:
        UserError: for a bundle that runs on ONNX only and does not tell its parts.
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
    start = ["fusion"] if description.inputs else []  # a codec alone reads nothing
    if start:
        nodes.append(f"    fusion{{{{{_box(by_name['fusion'])}}}}}:::fusion")
    lent = [by_name[f"encoders.{name}"].settings.get("codec") for name in description.inputs]  # codecs whose tokens are read
    for k, (name, modality) in enumerate(description.outputs.items()):
        way = [f"{group}{k}" for group in ("decoder", "codec") if f"{group}s.{name}" in by_name]
        arrows += [f"    codec{k} --> encoder{reader}" for reader, read in enumerate(lent) if read == name]
        if start and way[0].startswith("codec"):  # nothing is drawn with it
            nodes.append(f"    codec{k}[{_box(by_name[f'codecs.{name}'])}]:::encoder")
            continue
        nodes += [f"    {node}[{_box(by_name[f'{node.removesuffix(str(k))}s.{name}'])}]:::decoder" for node in way]
        nodes.append(f"    output{k}([{_end(name, modality)}]):::terminal")
        arrows.append(f"    {' --> '.join([*start, *way, f'output{k}'])}")
    styles = [f"    classDef {name} fill:{fill},stroke:{stroke},color:#24211d" for name, fill, stroke in STYLES]
    return "\n".join(["flowchart LR", *nodes, *arrows, *styles])


def _box(part: Part) -> str:
    """Kind in bold, the settings that are sizes or choices, parameters; dropout and switches are left to the table."""
    role = part.name.partition(".")[0].removesuffix("s")
    title = f"{part.kind} {role}" if part.kind else role
    return _label(title, *_sizes(part.settings), f"{count(part.parameters)} parameters")


def _end(name: str, modality: dict[str, Any]) -> str:
    """What goes in or comes out: its name in bold, its modality where that is another word, its sizes."""
    kind = [modality["kind"]] if modality["kind"] != name else []
    return _label(name, *kind, *_sizes({key: value for key, value in modality.items() if type(value) is int}))


def _sizes(settings: dict[str, Any]) -> list[str]:
    kept = {key: value for key, value in settings.items() if isinstance(value, str) or type(value) is int}
    return [f"{key.replace('_', ' ')} {value}" for key, value in kept.items()]


def count(number: int) -> str:
    """12345 -> 12,345; from a million on 12.35 M."""
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number:,}"


def _label(first: str, *others: str) -> str:
    """A quoted label of several lines, the first in bold; whatever Mermaid or HTML could read as its own is an entity."""
    return '"' + "<br/>".join([f"<b>{_plain(first)}</b>", *map(_plain, others)]) + '"'


def _plain(text: str) -> str:
    """Letters, digits, spaces, commas and the point of a number stay; the rest becomes #code; as Mermaid writes it."""
    return re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w .,]|_", lambda result: f"#{ord(result[0])};", text)
