"""braid export: ONNX graphs beside a model's weights, for use without torch."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table, with_progress
from braid.cli.options import JsonOption, ModelOption
from braid.cli.places import ModelWords, model_of
from braid.errors import UserError

if TYPE_CHECKING:
    from braid.bundle import Bundle
    from braid.runtime.parity import Parity


def export(
    words: ModelWords = None,
    model: ModelOption = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A folder; default: the model's own.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8 bit weights, if answers stay within bounds.")] = False,
    photos: Annotated[str, typer.Option(help="Data to compare int8 with; default: scenes.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many rows to compare on.")] = 100,
    base: Annotated[str, typer.Option(help="A model with which it shares parts: leave those out.")] = "",
    json: JsonOption = False,
) -> None:
    """Write a model as ONNX, so that it runs without torch.

    With --int8, weights have 8 bits, which is smaller and faster. The int8 graphs are compared with fp32 on up to --limit rows.
    If they differ by more than the bounds, the command fails and writes nothing. parity.json has the measurements.

    Examples:

        braid export runs/photos

        braid export small --output small-onnx

        braid export small --output small-int8 --int8 --photos photos/captions.jsonl

        braid export runs/speech --output speech --base small
    """
    from braid.bundle import find_bundle, read_bundle, write_descriptions, write_without
    from braid.runtime.export import export as write_graphs

    bundle = read_bundle(find_bundle(model_of("export", words, model)))
    if base:
        if int8 or output is None:
            raise UserError("--base writes a folder of its own, not in 8 bit; give it with --output, and leave --int8 out")
        write_without(bundle, base, output)
        bundle = read_bundle(output)
    if int8:
        result, paths = _export_int8(bundle, output, photos, limit, json)
        measured: dict[str, Any] = {"parity": [asdict(one) for one in result]}
    elif photos:
        raise UserError("--photos is the data that int8 is compared on; add --int8, or leave it out")
    else:
        measured, folder = {}, output or bundle.folder
        paths = write_graphs(bundle, folder, with_progress("exporting"))
        if folder.resolve() != bundle.folder.resolve():
            write_descriptions(folder, bundle.interface, bundle.tokenizers)
    if json:
        print_json({"folder": str(output or bundle.folder), "files": [path.name for path in paths], **measured})
        return
    for path in paths:
        note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _export_int8(
    bundle: "Bundle", output: Path | None, photos: str, limit: int, quiet: bool
) -> tuple[list["Parity"], list[Path]]:
    from braid.datasets import open_dataset
    from braid.runtime.export import export_int8
    from braid.runtime.parity import Bounds, compare, write_parity

    rows = open_dataset(photos).examples if photos else []
    held_out = [row for row in rows if row.split in ("val", "test")] or rows
    bounds, result = Bounds(), list["Parity"]()

    def check(exact: "Bundle", rough: "Bundle") -> None:
        result.extend(compare(exact, rough, held_out, photos, limit, with_progress("comparing")))
        if not quiet:
            _show(result)
        for one in result:
            one.check(bounds)
        write_parity(result, bounds, rough.folder)

    folder = output or bundle.folder
    return result, export_int8(bundle, folder, check, with_progress("exporting"))


def _show(result: list["Parity"]) -> None:
    numbers = ["rows", "largest", "mean", "equal, %", "cosine", "CIDEr"]
    cells = [
        [
            one.task,
            Path(one.data).name,
            one.rows,
            f"{one.largest:.3f}",
            f"{one.mean:.4f}",
            "" if one.equal is None else f"{100 * one.equal:.1f}",
            "" if one.cosine is None else f"{one.cosine:.4f}",
            " → ".join(f"{metric:.2f}" for metric in one.cider or ()),
        ]
        for one in result
    ]
    print_table("int8 beside fp32: differences of logits, and of answers", ["task", "on", *numbers], cells, numbers)
