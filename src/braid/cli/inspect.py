"""braid inspect: the architecture of a saved model as a table or a diagram."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import print_json, print_table

if TYPE_CHECKING:
    from braid.reports import Description


def inspect(
    model: Annotated[str, typer.Argument(help="A built-in name, a model's folder or a run's folder.")] = "small",
    reconstruct: Annotated[
        list[Path] | None, typer.Option(help="A picture, beside which to draw what the model's codec makes of it. Repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write these.")] = Path("reconstructed.png"),
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart, as GitHub draws it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a model: parts, shapes, parameters, size, and its data card; a run under way by its checkpoint.

    Examples:

        braid inspect small

        braid inspect small --mermaid

        braid inspect runs/vqa --json

        braid inspect runs/tokens --reconstruct photo.jpg --reconstruct dog.jpg -o beside.png
    """
    if reconstruct:
        _beside(model, reconstruct, output)
        print_json({"path": str(output)}) if json else print(f"{output}: above as they are, below as the codec makes them")
        return
    from braid.reports import describe, flowchart

    found = describe(model)
    if mermaid:
        print_json({"mermaid": flowchart(found)}) if json else print(flowchart(found))
        return
    if json:
        print_json(_as_json(found))
        return
    from braid.reports import count

    rows = [[part.name, part.kind, part.told, count(part.parameters)] for part in found.parts]
    title = f"{found.card.name or found.folder.name}: {count(found.parameters)} parameters, {found.bytes / 1e6:.1f} MB"
    print_table(title, ["part", "kind", "settings", "parameters"], rows, ["parameters"])
    print_table("\nIn and out", ["name", "modality", "shape"], _shapes(found))
    print_table("\nData card", ["", ""], _card(found))


def _beside(model: str, pictures: list[Path], output: Path) -> None:
    """Write one picture: above what the codec is given, below what it makes of it."""
    from PIL import Image

    from braid.api import load
    from braid.files import ready, whole
    from braid.modalities import ImageModality

    ready(output)
    loaded = load(model)
    made = loaded.reconstruct(pictures)
    modality = loaded.bundle.outputs["image"]
    assert isinstance(modality, ImageModality)  # it has a codec
    given = modality.pictures(modality.pad([modality.prepare(path, str(path)) for path in pictures]).values)
    size = made[0].width
    sheet = Image.new("RGB", (size * len(made), 2 * size))
    for column, (above, below) in enumerate(zip(given, made, strict=True)):
        sheet.paste(Image.fromarray(above), (column * size, 0))
        sheet.paste(below, (column * size, size))
    with whole(output) as fresh:
        sheet.save(fresh, format="PNG")


def _shapes(found: "Description") -> list[list[str]]:
    rows = []
    for role, modalities in (("in", found.inputs), ("out", found.outputs)):
        for name, modality in modalities.items():
            rows.append([f"{role}: {name}", modality["kind"], _shape(modality, found.vocab_sizes)])
    return rows


def _shape(modality: dict[str, Any], vocab_sizes: dict[str, int]) -> str:
    if modality["kind"] == "text":
        vocabulary = vocab_sizes.get(modality["tokenizer"])
        tokens = f" of {vocabulary}" if vocabulary else ""
        return f"up to {modality['max_length']}{tokens} tokens"
    if modality["kind"] == "image":
        return f"[3, {modality['size']}, {modality['size']}] floats"
    if modality["kind"] == "labels":
        return f"{'any' if modality['multiple'] else 'one'} of {len(modality['labels'])} labels"
    return "one number" if modality["kind"] == "number" else "a vector of length 1"


def _card(found: "Description") -> list[list[str]]:
    card = found.card
    rows = [["tasks", ", ".join(found.tasks)]]
    rows += [["trained on", "; ".join(" + ".join(subset) or "no input" for subset in found.trained_on)]]
    rows += [["about", card.description], ["terms", card.terms]]
    rows += [["made from", f"{source.name} ({source.use}): {source.terms}"] for source in card.sources]
    rows += [["scores", ", ".join(f"{name} {value:g}" for name, value in card.scores.items())], ["scored on", card.scored_on]]
    return [row for row in rows if row[1]]


def _as_json(found: "Description") -> dict[str, Any]:
    from braid.config import to_dict

    parts = [{"part": p.name, "kind": p.kind, "settings": p.told, "parameters": p.parameters} for p in found.parts]
    interface = {key: to_dict(getattr(found, key)) for key in ("inputs", "outputs", "tasks", "trained_on", "card")}
    return {
        "folder": str(found.folder),
        "parameters": found.parameters,
        "bytes": found.bytes,
        "parts": parts,
        "interface": interface,
    }
