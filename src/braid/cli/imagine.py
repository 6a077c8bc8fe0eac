"""braid imagine: pictures from words."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.cli.use import JsonOption, ModelOption
from braid.files import ready, whole

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where to write the picture; of several, name-1, name-2, ...")]


def imagine(
    prompt: Annotated[str, typer.Argument(help="What to draw; or with --image, what to change.", show_default=False)],
    model: ModelOption = "imagine",
    output: OutputOption = Path("imagined.png"),
    image: Annotated[Path | None, typer.Option(help="A picture to change.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pictures.")] = 0,
    guidance: Annotated[
        float | None, typer.Option(help="How closely to follow the prompt; 1 is the model alone. Default: the model's own.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Higher is wilder.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="For a model that fills its pictures in.")] = None,
    json: JsonOption = False,
) -> None:
    """Draw pictures of what a sentence says, or change a picture as it says.

    Examples:

        braid imagine "a small red circle left of a large blue square" --count 4 --seed 7 -o drawn.png

        braid imagine "make the circle green" --image drawn-1.png -o changed.png
    """
    from PIL import Image

    from braid.api import load

    ready(output)
    loaded = load(model)
    changes = {name: value for name, value in (("temperature", temperature), ("steps", steps)) if value is not None}

    def watch(each: Iterable[int], total: int) -> Iterable[int]:
        return progress(each, "drawing", total)

    result = loaded.drawings(prompt, image, count, seed, guidance, changes, watch)
    rows = []
    for number, one in enumerate(result, 1):
        assert one.image is not None  # that is what the task gives
        path = output if count == 1 else output.with_stem(f"{output.stem}-{number}")
        with whole(path) as fresh:
            Image.fromarray(one.image.pixels).save(fresh, format="PNG")
        rows.append([str(path), one.text or ""])
        if json:
            print_json({"path": str(path), "text": one.text})
    if not json:
        said = any(text for _, text in rows)
        print_table("GeneratedImage", ["picture", *(["it shows"] if said else [])], [row[: 1 + said] for row in rows])
    if output.suffix.lower() != ".png":
        note(f"{output.name} is written as PNG, whatever its name says")
