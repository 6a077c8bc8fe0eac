"""braid inspect: the architecture of a saved model as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from braid.cli.console import print_json, print_table

if TYPE_CHECKING:
    from braid.bundle import Bundle


def inspect(
    model: Annotated[str, typer.Argument(help="A built-in name, a model's folder or a run's folder.")] = "small",
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a model: parts, shapes, parameters, size, and its data card.

    Examples:

        braid inspect small

        braid inspect runs/vqa --json
    """
    from braid.bundle import find_bundle, read_bundle

    bundle = read_bundle(find_bundle(model))
    parts = _parts(bundle)
    whole = sum(part["parameters"] for part in parts)
    size = sum(file.stat().st_size for file in bundle.folder.iterdir() if file.is_file())
    if json:
        print_json(_as_json(bundle, parts, whole, size))
        return
    rows = [[part["part"], part["kind"], part["settings"], _count(part["parameters"])] for part in parts]
    title = f"{bundle.interface.card.name or bundle.folder.name}: {_count(whole)} parameters, {size / 1e6:.1f} MB"
    print_table(title, ["part", "kind", "settings", "parameters"], rows, ["parameters"])
    print_table("\nIn and out", ["name", "modality", "shape"], _shapes(bundle))
    print_table("\nData card", ["", ""], _card(bundle))


def _parts(bundle: "Bundle") -> list[dict[str, Any]]:
    """One row a part: its kind and settings from model.json, its parameters counted in the weights."""
    architecture = bundle.architecture or {}
    described = {
        f"{group}.{name}": part for group in ("encoders", "decoders") for name, part in architecture.get(group, {}).items()
    }
    described["fusion"] = architecture.get("fusion", {})
    counts: dict[str, int] = {}
    for name, value in bundle.weights().items() if architecture else ():
        part = "fusion" if name.startswith("fusion.") else ".".join(name.split(".")[:2])
        counts[part] = counts.get(part, 0) + int(np.prod(value.shape))
    order = [*(n for n in described if n.startswith("encoders")), *(n for n in counts if n.startswith("projections")), "fusion"]
    order += [n for n in described if n.startswith("decoders")]
    return [_part(name, described.get(name, {"kind": "linear"}), counts.get(name, 0), architecture) for name in order]


def _part(name: str, config: dict[str, Any], parameters: int, architecture: dict[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in config.items() if key != "kind"}
    if name.startswith("projections"):
        settings = {"width": architecture["width"]}
    if "architecture" in settings:  # of a pretrained part: its family stands for all its settings
        settings["architecture"] = settings["architecture"]["model_type"]
    told = ", ".join(f"{key} {value}" for key, value in settings.items() if value != "")
    return {"part": name, "kind": config.get("kind", ""), "settings": told, "parameters": parameters}


def _shapes(bundle: "Bundle") -> list[list[str]]:
    from braid.modalities import TextModality

    rows = []
    for role, modalities in (("in", bundle.inputs), ("out", bundle.outputs)):
        for name, modality in modalities.items():
            if isinstance(modality, TextModality):
                shape = f"up to {modality.max_length} of {modality.vocab_size} tokens"
            else:
                shape = f"[3, {modality.size}, {modality.size}] floats"
            rows.append([f"{role}: {name}", modality.config.kind, shape])
    return rows


def _card(bundle: "Bundle") -> list[list[str]]:
    card = bundle.interface.card
    rows = [["tasks", ", ".join(bundle.interface.tasks)]]
    rows += [["trained on", "; ".join(" + ".join(subset) or "no input" for subset in bundle.interface.trained_on)]]
    rows += [["about", card.description], ["terms", card.terms]]
    rows += [["made from", f"{source.name} ({source.use}): {source.terms}"] for source in card.sources]
    rows += [["scores", ", ".join(f"{name} {value:g}" for name, value in card.scores.items())], ["scored on", card.scored_on]]
    return [row for row in rows if row[1]]


def _as_json(bundle: "Bundle", parts: list[dict[str, Any]], parameters: int, size: int) -> dict[str, Any]:
    from braid.config import to_dict

    return {
        "folder": str(Path(bundle.folder)),
        "parameters": parameters,
        "bytes": size,
        "parts": parts,
        "interface": to_dict(bundle.interface),
    }


def _count(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number:,}"
