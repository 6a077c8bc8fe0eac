"""braid embed, index, search: pictures and texts as vectors in one space."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import SkippedRowsOption, StrictOption, finish, note, print_json, print_table, progress
from braid.errors import UserError
from braid.files import ready, whole, write_whole
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    import numpy as np

    from braid.index import Hit, IndexConfig

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A built-in name, a model's folder or a run's folder.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Pictures or texts encoded at once.")]
KINDS = ("exact", "hnsw", "lancedb")


def embed(
    values: Annotated[list[str], typer.Argument(help="Pictures, patterns, folders, or texts in quotes.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The vectors, [n, width] float32, as .npy.")],
    model: ModelOption = "small",
    batch_size: BatchOption = 32,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Turn pictures and texts into vectors of one space; the first that cannot be read is an error.

    Examples:

        braid embed photos/ -o photos.npy

        braid embed "two dogs in the snow" dog.jpg -o both.npy
    """
    from braid.api import load
    from braid.modalities import image_files, is_image

    ready(output)
    loaded = load(model)
    pictures = [Path(value).expanduser().exists() or is_image(value) for value in values]
    groups = [image_files([value]) if image else [value] for value, image in zip(values, pictures, strict=True)]
    names = list(chain.from_iterable(groups))

    def vectors() -> "Iterator[np.ndarray]":
        for group, image in zip(groups, pictures, strict=True):
            starts = progress(range(0, len(group), batch_size), "embedding") if image else (0,)
            for start in starts:
                part = group[start : start + batch_size]
                yield loaded.embed(images=part) if image else loaded.embed(texts=part)

    with whole(output) as fresh:
        width = _write_rows(fresh, vectors(), len(names))
    if json:
        print_json({"output": str(output), "ids": names, "width": width})
    else:
        note(f"{output}: {len(names)} vectors of width {width}")


def _write_rows(path: Path, parts: Iterable["np.ndarray"], rows: int) -> int:
    """An .npy file of so many rows, written part by part, so that memory does not grow with them; its width."""
    from numpy.lib import format as npy

    width = 0
    with open(path, "wb") as file:
        for part in parts:
            if not width:
                width = part.shape[1]
                npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})
            file.write(part.astype("<f4").tobytes())
    return width


def index(
    paths: Annotated[list[str], typer.Argument(help="Pictures, patterns or folders.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The index's folder; one that is there grows.")],
    model: ModelOption = "small",
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}; of an index that is there already, its own.")] = "exact",
    batch_size: BatchOption = 32,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Embed pictures and keep them for `braid search`; pictures that the index has already are passed over.

    exact compares a query with every picture, hnsw finds nearly all neighbours of a million at once, lancedb is a database.

    Examples:

        braid index photos/ -o photos.index

        braid index more/*.jpg -o photos.index --kind hnsw
    """
    from braid.api import load
    from braid.config import from_dict
    from braid.index import IndexConfig as Config

    config: IndexConfig = from_dict(Config, {"kind": kind}, "--kind")
    without = SkippedRows(note)
    result = load(model).index(paths, output, config, batch_size, strict, lambda parts: progress(parts, "indexing"))
    without.add((sample.source, reason) for sample, reason in result.skipped)
    opened = result.index
    if json:
        print_json({"index": str(output), "num_rows": len(opened), "num_left_out": len(without)})
    else:
        note(f"{output}: {len(opened)} pictures")
    opened.close()
    finish(without, skipped_rows)
    if len(without):
        raise typer.Exit(1)


def search(
    place: Annotated[Path, typer.Argument(metavar="INDEX", help="The folder that `braid index` made.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What to look for.", show_default=False)] = "",
    image: Annotated[Path | None, typer.Option(help="Look for pictures like this one; with a text, for both.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many of the nearest.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write a page with the pictures found here.")] = None,
    model: ModelOption = "small",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Find pictures by a text, by a picture, or by both.

    Examples:

        braid search photos.index "two dogs running in snow"

        braid search photos.index --image query.jpg --top 20 --html found.html
    """
    from braid.api import load
    from braid.index import Tile, contact_sheet, open_index

    if not text and image is None:
        raise UserError("give a text to look for, or a picture with --image")
    if html is not None:
        ready(html)
    loaded = load(model)
    opened = open_index(place, loaded.origin)
    hits = loaded.search(opened, text, image, top)
    if not len(opened):
        note(f"{place} is empty; put pictures into it with: braid index FOLDER -o {place}")
    if html is not None:
        tiles = [Tile(hit.id, hit.score, image=hit.id) for hit in hits]
        write_whole(html, contact_sheet(place.name, tiles, text, image))
    _show(hits, json)
    if html is not None and not json:
        note(f"the page: {html.resolve()}")


def _show(hits: "Sequence[Hit]", json: bool) -> None:
    if json:
        for hit in hits:
            print_json({"id": hit.id, "score": round(hit.score, 4)})
    else:
        print_table("Nearest", ["picture", "cosine"], [[hit.id, f"{hit.score:.3f}"] for hit in hits], ["cosine"])
