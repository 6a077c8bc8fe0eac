"""Files -> Examples, one file a format; a data set is recognised by what it holds."""

from collections.abc import Callable, Mapping
from pathlib import Path

from braid.datasets import coco, flickr, folder, karpathy, lines, shards, table, vqa
from braid.datasets.dataset import Dataset, Rows, SkippedRow
from braid.datasets.scenes import open_scenes
from braid.datasets.table.examples import roles_of
from braid.datasets.table.files import stream_table
from braid.errors import UserError

# The first that recognises a path reads it: the particular before the general.
FORMATS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path, Mapping[str, str]], Dataset]], ...] = (
    ("shards (shards.jsonl and tars)", shards.recognise, shards.open_shards),
    ("a table (csv, tsv, jsonl, json, parquet)", table.recognise, table.open_table),
    ("Karpathy splits (dataset_*.json)", karpathy.recognise, karpathy.open_karpathy),
    ("VQA (*_questions.json, *_annotations.json)", vqa.recognise, vqa.open_vqa),
    ("COCO captions (captions_*.json)", coco.recognise, coco.open_coco),
    ("a Flickr token file (*.token.txt)", flickr.recognise, flickr.open_flickr),
    ("lines of text (txt, txt.gz)", lines.recognise, lines.open_lines),
    ("a folder of pictures, with or without a text file each", folder.recognise, folder.open_folder),
)

__all__ = ["Dataset", "Rows", "SkippedRow", "open_dataset", "roles_of_data"]


def open_dataset(path: str | Path, columns: Mapping[str, str] | None = None) -> Dataset:
    """Open a file or folder of any supported format, or the procedural scenes (``scenes:captioning,train=500``).

    Raises:
        UserError: when there is nothing there, or nothing recognised.
    """
    if str(path).partition(":")[0] == "scenes":
        return open_scenes(str(path))
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{place} does not exist; check the path")
    for _, recognise, open_format in FORMATS:
        if recognise(place):
            return open_format(place, columns or {})
    for inside in _tables(place):
        return table.open_table(inside, columns or {})
    if folder.holds_images(place):
        return folder.open_folder(place, columns or {})
    known = "; ".join(name for name, _, _ in FORMATS)
    raise UserError(f"{place} holds no data set that Braid knows; it reads {known}")


def roles_of_data(path: str | Path, columns: Mapping[str, str] | None = None) -> set[str] | None:
    """The roles that a table's rows will have, by its header; None for any other data set."""
    place = Path(path).expanduser()
    if not table.recognise(place):
        return None
    return set(roles_of(stream_table(place), columns or {}))


def _tables(place: Path) -> list[Path]:
    """The only table of a folder stands for the folder."""
    inside = [file for file in sorted(place.iterdir()) if table.recognise(file)] if place.is_dir() else []
    if len(inside) > 1:
        raise UserError(f"{place} holds {len(inside)} tables; give one of them: {', '.join(file.name for file in inside)}")
    return inside
