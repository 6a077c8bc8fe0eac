"""braid average: one model with the mean weights of several."""

from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json
from braid.cli.options import JsonOption


def average(
    models: Annotated[list[str], typer.Argument(help="Two or more models of one architecture and tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the new model.")],
    half: Annotated[bool, typer.Option("--half", help="Save in float16, at half the size.")] = False,
    json: JsonOption = False,
) -> None:
    """Average the weights of models with a common start: the last epochs of a run, or runs from the same model.

    The mean is often better than each, at the cost of one (arXiv:1803.05407, arXiv:2203.05482). Models with different starts give
    nonsense, so measure the result. Scores and calibration are not copied: they belong to other weights.

    Examples:

        braid train photos.yaml --output runs/photos --set keep=4

        braid average runs/photos/epoch-* --output runs/photos-mean
    """
    from braid.bundle import average as average_of
    from braid.bundle import find_bundle, read_bundle

    bundles = [read_bundle(find_bundle(model)) for model in models]
    average_of(bundles, output, half)
    if json:
        print_json({"folder": str(output), "models": len(bundles)})
        return
    note(f"{output}: the mean of {len(bundles)} models; braid evaluate --model {output} --data ... measures it")
