"""braid data: look at a data set before training on it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.datasets.table import parse_columns

if TYPE_CHECKING:
    from braid.datasets import BrokenRow, Dataset
    from braid.records import Example

SHOWN = 20  # broken rows in full; more are counted


def check(
    data: Annotated[str, typer.Argument(help="A file or folder of any supported format, or scenes:TASK.")],
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,captions=text")] = "",
    images: Annotated[bool, typer.Option("--images", help="Open every picture, too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any row is broken.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what Braid makes of a data set: format, columns, splits, broken rows with reasons.

    Examples:

        braid data check photos/captions.jsonl

        braid data check photos.csv --columns image=file,captions=title --images
    """
    from braid.datasets import open_dataset

    dataset = open_dataset(data, parse_columns(columns))
    broken = list(dataset.broken)
    if images:
        broken += unreadable_images(dataset.examples)
    splits = _splits(dataset)
    if json:
        print_json(
            {
                "path": dataset.path,
                "format": dataset.format,
                "columns": dict(dataset.columns),
                "splits": splits,
                "num_examples": len(dataset.examples),
                "num_broken": len(broken),
                "broken": [{"source": row.source, "reason": row.reason} for row in broken],
            }
        )
    else:
        _print(dataset, splits, broken)
    if strict and broken:
        raise typer.Exit(1)


def unreadable_images(examples: Sequence["Example"]) -> list["BrokenRow"]:
    """Decode each distinct picture once; those that cannot be, with the reason."""
    from braid.datasets import BrokenRow
    from braid.errors import UserError
    from braid.modalities import ImageModality, ImageModalityConfig

    modality = ImageModality(ImageModalityConfig())
    found: list[BrokenRow] = []
    pictures = {example.fields["image"]: example.source for example in reversed(examples) if "image" in example.fields}
    for picture, source in progress(pictures.items(), "opening", len(pictures)):
        try:
            modality.prepare(picture, source)
        except UserError as error:
            found.append(BrokenRow(source, str(error)))
    return found


def _splits(dataset: "Dataset") -> dict[str, dict[str, int]]:
    """Split -> rows, distinct pictures and texts."""
    found: dict[str, Counter[str]] = {}
    pictures: dict[str, set[Any]] = {}
    for example in dataset.examples:
        counts = found.setdefault(example.split or "unassigned", Counter())
        counts["rows"] += 1
        if "image" in example.fields:
            pictures.setdefault(example.split or "unassigned", set()).add(example.fields["image"])
        for role in ("captions", "answers"):
            if role in example.fields:
                counts[role] += len(example.fields[role])
    for split, seen in pictures.items():
        found[split]["images"] = len(seen)
    return {split: dict(counts) for split, counts in sorted(found.items(), key=lambda item: -item[1]["rows"])}


def _print(dataset: "Dataset", splits: dict[str, dict[str, int]], broken: list["BrokenRow"]) -> None:
    names = list(dict.fromkeys(name for counts in splits.values() for name in counts))
    rows = [[split, *(f"{counts.get(name, 0):,}" for name in names)] for split, counts in splits.items()]
    print_table(f"{dataset.path}: {dataset.format}", ["split", *names], rows, names)
    if dataset.columns:
        print_table("\nColumns", ["role", "column"], list(dataset.columns.items()))
    example = next(iter(dataset.examples), None)
    if example is not None:
        print_table(f"\nThe first row ({example.source})", ["role", "value"], _shown(example))
    if not broken:
        note("\nno broken rows")
        return
    print_table(f"\n{len(broken)} broken rows", ["row", "reason"], [[row.source, row.reason] for row in broken[:SHOWN]])
    if len(broken) > SHOWN:
        note(f"and {len(broken) - SHOWN} more; --json lists them all")


def _shown(example: "Example") -> list[list[str]]:
    rows = [["id", example.id]]
    for role, value in example.fields.items():
        if role == "image":
            text = Path(value).name if isinstance(value, str) else "drawn when it is looked at"
        else:
            text = "\n".join(value) if isinstance(value, tuple) else str(value)
        rows.append([role, text if len(text) < 500 else text[:500] + " ..."])
    return rows
