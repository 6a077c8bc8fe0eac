"""braid imagine: images from words."""

from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_rows, watched
from braid.cli.options import LinesOption, ModelOption, SeedOption, TemperatureHelp
from braid.files import ready, whole

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where to write the image; of several, name-1, name-2, ...")]


def imagine(
    prompt: Annotated[str, typer.Argument(help="What the image shows; with --image, what to change.", show_default=False)],
    model: ModelOption = "imagine",
    output: OutputOption = Path("imagined.png"),
    image: Annotated[Path | None, typer.Option(help="An image to edit.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 1,
    seed: SeedOption = 0,
    guidance: Annotated[
        float | None, typer.Option(help="How closely to follow the prompt; 1 is the model alone. Default: the model's own.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help=TemperatureHelp)] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of a model that predicts all tokens together.")] = None,
    json: LinesOption = False,
) -> None:
    """Generate images from a sentence, or edit an image as the sentence says.

    Examples:

        braid imagine "a small red circle left of a large blue square" --count 4 --seed 7 -o shapes.png

        braid imagine "make the circle green" --image shapes-1.png -o changed.png
    """
    from PIL import Image

    from braid.api import load

    ready(output)
    loaded = load(model)
    given = {"guidance": guidance, "temperature": temperature, "steps": steps}
    sampling = {name: value for name, value in given.items() if value is not None}
    result = loaded.generate_images(prompt, image, count, seed, watched("generating"), **sampling)
    records = []
    for number, one in enumerate(result, 1):
        assert one.image is not None  # that is what the task gives
        path = output if count == 1 else output.with_stem(f"{output.stem}-{number}")
        with whole(path) as fresh:
            Image.fromarray(one.image.pixels).save(fresh, format="PNG")
        records.append({"path": str(path), "text": one.text})
    described = any(one["text"] for one in records)
    rows = [[one["path"], *([one["text"] or ""] if described else [])] for one in records]
    print_rows(json, records, "Generated images", ["image", *(["it shows"] if described else [])], rows)
    if output.suffix.lower() != ".png":
        note(f"{output.name} is written as PNG, whatever its name says")
