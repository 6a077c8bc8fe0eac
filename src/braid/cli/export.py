"""braid export: ONNX graphs beside a model's weights, for use without torch."""

from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json


def export(
    model: Annotated[str, typer.Argument(help="A built-in name, a model's folder or a run's folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A folder; default: the model's own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a model as fp32 ONNX, so that it runs without torch.

    Examples:

        braid export runs/photos

        braid export small --output small-onnx
    """
    from braid.bundle import find_bundle, read_bundle
    from braid.files import write_whole
    from braid.runtime.export import export as write_graphs

    bundle = read_bundle(find_bundle(model))
    folder = output or bundle.folder
    paths = write_graphs(bundle, folder)
    if folder != bundle.folder:
        for name in ("interface", *bundle.tokenizers):
            write_whole(folder / f"{name}.json", (bundle.folder / f"{name}.json").read_text(encoding="utf-8"))
    if json:
        print_json({"folder": str(folder), "files": [path.name for path in paths]})
        return
    for path in paths:
        note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
