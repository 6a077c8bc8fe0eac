"""braid average: one model whose weights are the mean of several's."""

from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json


def average(
    models: Annotated[list[str], typer.Argument(help="Two or more models of one architecture and tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the new model.")],
    half: Annotated[bool, typer.Option("--half", help="Save in float16, at half the size.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Average the weights of models that began as one: the last epochs of a run, or runs from the same start.

    The mean is often better than each, at the cost of one (arXiv:1803.05407, arXiv:2203.05482). Models trained apart from
    different starts give nonsense: measure the result. Scores and calibration are not taken over, for they are of other weights.

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
    note(f"{output}: the mean of {len(bundles)} models; braid evaluate --model {output} --data ... tells how good it is")
