"""braid embed, index, search: files, texts and other inputs as vectors in one space."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_rows, progress, report_skipped
from braid.cli.options import (
    BatchOption,
    FilesArgument,
    InputOption,
    JsonOption,
    LinesOption,
    ModelOption,
    SkippedRowsOption,
    StrictOption,
    given_text,
    names_file,
    note_cut,
    parsed,
)
from braid.errors import UserError
from braid.files import ready, whole, write_whole

if TYPE_CHECKING:
    import numpy as np

    from braid.index import IndexConfig
    from braid.search import Indexed


KINDS = ("exact", "hnsw", "lancedb")


def embed(
    values: Annotated[list[str], typer.Argument(help="Files, patterns, folders, or texts in quotes.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The vectors, [n, width] float32, as .npy.")],
    inputs: InputOption = None,
    model: ModelOption = "small",
    batch_size: BatchOption = 32,
    json: JsonOption = False,
) -> None:
    """Turn files and texts into vectors of one space. Stop at the first file that cannot be read.

    Examples:

        braid embed photos/ -o photos.npy

        braid embed "two dogs in the snow" dog.jpg -o both.npy
    """
    from braid.api import load

    ready(output)
    loaded = load(model)
    groups: list[tuple[str, list[Any]]] = []  # an input and its values
    for value in values:
        files = loaded.files(value, note) if names_file(loaded, value) else {}
        groups += [(name, [file]) for file, name in files.items()] if files else [("text", [given_text(value)])]
        if not files and loaded.is_file(value):
            note(f"{value!r} is read as a text, because there is no such file")
    names = [str(one) for _, group in groups for one in group]
    for name, value in parsed(loaded, inputs).items():
        groups.append((name, [value]))
        names.append(name)

    def vectors() -> "Iterator[np.ndarray]":
        joined = [(name, [one for _, group in same for one in group]) for name, same in groupby(groups, key=lambda g: g[0])]
        starts = [(name, group, first) for name, group in joined for first in range(0, len(group), batch_size)]
        parts = [(name, group[first : first + batch_size]) for name, group, first in starts]
        for name, part in progress(parts, "embedding"):
            yield loaded.embed(**({"texts": part} if name == "text" else {name: part}))

    note_cut(loaded, [one for name, group in groups if name == "text" for one in group])
    with whole(output) as fresh:
        width = _write_rows(fresh, vectors(), len(names))
    if json:
        print_json({"output": str(output), "ids": names, "width": width})
    else:
        note(f"{output}: {len(names)} vectors of width {width}")


def _write_rows(path: Path, parts: Iterable["np.ndarray"], rows: int) -> int:
    """Write an .npy file with this number of rows, part by part to save memory, and return its width."""
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
    paths: FilesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The index's folder; an index that is there grows.")],
    model: ModelOption = "small",
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}; an index that is there keeps its own.")] = "exact",
    prune: Annotated[bool, typer.Option("--prune", help="Remove files that are not there any more from the index.")] = False,
    batch_size: BatchOption = 32,
    skipped_rows: SkippedRowsOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
) -> None:
    """Embed files and keep their vectors for `braid search`; files that are in the index and did not change are skipped.

    exact compares a query with every vector, hnsw finds nearly all neighbours among millions quickly, lancedb is a database.

    Examples:

        braid index photos/ -o photos.index

        braid index more/*.jpg -o photos.index --kind hnsw

        braid index photos/ -o photos.index --prune
    """
    from braid.api import load
    from braid.config import from_dict
    from braid.index import IndexConfig as Config

    config: IndexConfig = from_dict(Config, {"kind": kind}, "--kind")
    watch = lambda parts: progress(parts, "indexing")  # noqa: E731
    result = load(model).index(paths, output, config, batch_size, strict, watch, note, prune)
    opened = result.index
    if json:
        counts = {
            "num_new": result.new,
            "num_unchanged": result.unchanged,
            "num_changed": result.changed,
            "num_moved": result.moved,
            "num_missing": result.gone,
        }
        print_json({"index": str(output), "num_rows": len(opened), "num_skipped": len(result.skipped), **counts})
    else:
        note(f"{output}: {len(opened)} files{_changes(result)}")
    opened.close()
    report_skipped(skipped_rows, [(sample.source, reason) for sample, reason in result.skipped])


def _changes(result: "Indexed") -> str:
    """What became of files that were in the index before; "" for a new index."""
    if not (result.unchanged or result.changed or result.moved or result.gone):
        return ""
    counts = (("new", result.new), ("changed", result.changed), ("moved", result.moved))
    done = [f"{number:,} {what}" for what, number in counts if number] or ["nothing new"]
    if result.unchanged:
        done.append(f"{result.unchanged:,} {'file' if result.unchanged == 1 else 'files'} unchanged")
    if result.gone:
        what = "were removed" if result.pruned else "are not there any more (--prune removes them)"
        one = "was removed" if result.pruned else "is not there any more (--prune removes it)"
        done.append(f"{result.gone:,} {one if result.gone == 1 else what}")
    return f"; {', '.join(done)}"


def search(
    place: Annotated[Path, typer.Argument(metavar="INDEX", help="The folder that `braid index` made.", show_default=False)],
    text: Annotated[str, typer.Argument(help="The text to search for.", show_default=False)] = "",
    image: Annotated[Path | None, typer.Option(help="Find files like this image; with a text, like both.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Find files like this recording.")] = None,
    video: Annotated[Path | None, typer.Option(help="Find files like this clip.")] = None,
    inputs: InputOption = None,
    top: Annotated[int, typer.Option(min=1, help="Show so many of the nearest.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Write a page with the results.")] = None,
    model: ModelOption = "small",
    json: LinesOption = False,
) -> None:
    """Search an index by a text, an image, a recording, a clip, any other input, or several together.

    Examples:

        braid search photos.index "two dogs running in snow"

        braid search photos.index --image query.jpg --top 20 --html found.html

        braid search media.index --audio query.wav --model runs/media
    """
    from braid.api import load
    from braid.index import open_index
    from braid.index.files import is_gone
    from braid.search import results_page

    files = {name: file for name, file in (("image", image), ("audio", audio), ("video", video)) if file is not None}
    if not text and not files and not inputs:
        raise UserError("give a text to search for, or a file with --image, --audio or --video")
    if text:
        given_text(text)
    if html is not None:
        ready(html)
    loaded = load(model)
    opened = open_index(place, loaded.origin)
    hits = loaded.search(opened, text, top=top, **files, **parsed(loaded, inputs))
    note_cut(loaded, [text] if text else [])
    if not len(opened):
        note(f"{place} is empty; add files with: braid index FOLDER -o {place}")
    if html is not None:
        write_whole(html, results_page(place, hits, text, next(iter(files.values()), None)))
    gone = {hit.id: None for hit in hits if is_gone(hit, place)}
    records = ({"id": hit.id, "score": round(hit.score, 4), **({"missing": True} if hit.id in gone else {})} for hit in hits)
    print_rows(json, records, "Nearest", ["file", "cosine"], [[hit.id, f"{hit.score:.3f}"] for hit in hits], ["cosine"])
    if gone:
        what = f"files that are not there any more: {len(gone)} of {len(hits)}, first {next(iter(gone))}"
        note(f"{what}; remove them with: braid index FOLDER -o {place} --prune")
    if html is not None and not json:
        note(f"the page: {html.resolve()}")
