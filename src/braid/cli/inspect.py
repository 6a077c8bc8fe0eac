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

    result = describe(model)
    if mermaid:
        print_json({"mermaid": flowchart(result)}) if json else print(flowchart(result))
        return
    if json:
        print_json(_as_json(result))
        return
    from braid.reports import count

    rows = [[part.name, part.kind, part.message, count(part.parameters)] for part in result.parts]
    title = f"{result.card.name or result.folder.name}: {count(result.parameters)} parameters, {result.bytes / 1e6:.1f} MB"
    print_table(title, ["part", "kind", "settings", "parameters"], rows, ["parameters"])
    print_table("\nIn and out", ["name", "modality", "shape"], _shapes(result))
    print_table("\nData card", ["", ""], _card(result))


def _beside(model: str, images: list[Path], output: Path) -> None:
    """Write one picture: above what the codec is given, below what it makes of it."""
    from PIL import Image

    from braid.api import load
    from braid.files import ready, whole
    from braid.modalities import ImageModality

    ready(output)
    loaded = load(model)
    made = loaded.reconstruct(images)
    modality = loaded.bundle.outputs["image"]
    assert isinstance(modality, ImageModality)  # it has a codec
    given = modality.images(modality.pad([modality.prepare(path, str(path)) for path in images]).values)
    size = made[0].width
    sheet = Image.new("RGB", (size * len(made), 2 * size))
    for column, (above, below) in enumerate(zip(given, made, strict=True)):
        sheet.paste(Image.fromarray(above), (column * size, 0))
        sheet.paste(below, (column * size, size))
    with whole(output) as fresh:
        sheet.save(fresh, format="PNG")


def _shapes(result: "Description") -> list[list[str]]:
    rows = []
    for role, modalities in (("in", result.inputs), ("out", result.outputs)):
        for name, modality in modalities.items():
            rows.append([f"{role}: {name}", modality["kind"], _shape(modality, result.vocab_sizes)])
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


def _card(result: "Description") -> list[list[str]]:
    card = result.card
    rows = [["tasks", ", ".join(result.tasks)]]
    rows += [["trained on", "; ".join(" + ".join(subset) or "no input" for subset in result.trained_on)]]
    rows += [["about", card.description], ["terms", card.terms]]
    rows += [["made from", f"{source.name} ({source.use}): {source.terms}"] for source in card.sources]
    rows += [["scores", ", ".join(f"{name} {value:g}" for name, value in card.scores.items())], ["scored on", card.scored_on]]
    return [row for row in rows if row[1]]


def _as_json(result: "Description") -> dict[str, Any]:
    from braid.config import to_dict

    parts = [{"part": p.name, "kind": p.kind, "settings": p.message, "parameters": p.parameters} for p in result.parts]
    interface = {key: to_dict(getattr(result, key)) for key in ("inputs", "outputs", "tasks", "trained_on", "card")}
    return {
        "folder": str(result.folder),
        "parameters": result.parameters,
        "bytes": result.bytes,
        "parts": parts,
        "interface": interface,
    }
