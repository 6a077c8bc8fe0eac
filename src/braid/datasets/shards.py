"""A data set in a few large files: rows in shards.jsonl, images and other files in 00000.tar, 00001.tar, ... beside it.

Tar has advantages over Parquet: one file can be read by its offset, without the group of rows around it and without pyarrow;
tars are written and copied sequentially; and ``tar -xf`` unpacks the files.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.config import json_text
from braid.datasets.dataset import Dataset, Rows, SkippedRow, file_finder, skipped_row
from braid.errors import Missing, UserError
from braid.files import ESCAPED, whole
from braid.files.reading import archive_of, part_name
from braid.media import Clip
from braid.modalities import modality_of
from braid.modalities.cells import check_length, is_text, parse
from braid.records import Example

FILE = "shards.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class Sharded:
    """The result of writing: number of rows, distinct files and tars, and bytes of the tars."""

    num_rows: int
    num_files: int
    num_shards: int
    num_bytes: int


def recognise(path: Path) -> bool:
    return (path / FILE).is_file()


def open_shards(path: Path, columns: Mapping[str, str]) -> Dataset:
    """Open the rows of ``write_shards``, in their order; a row that is damaged, or whose tar is missing, is skipped."""
    skipped: list[SkippedRow] = []
    return Dataset(str(path), "shards (tar)", Rows(_read(path, skipped)), tuple(skipped))


def _read(folder: Path, skipped: list[SkippedRow]) -> Iterator[Example]:
    exists = file_finder()
    with open(folder / FILE, encoding="utf-8-sig", errors="replace") as file:
        _check_format(folder / FILE, file.readline())
        for number, line in enumerate(file, 1):
            source = f"{FILE}, row {number}"
            try:
                yield _example(line, source, folder, exists)
            except UserError as error:
                skipped.append(skipped_row(source, error))


def _check_format(path: Path, line: str) -> None:
    try:
        result = parse(line)
    except UserError:
        result = None
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise UserError(f"{path} does not begin with format {FORMAT}; make the shards again with braid data shard")


def _example(line: str, source: str, folder: Path, exists: Callable[[str | Path], bool]) -> Example:
    row = parse(line)
    fields = row.get("fields") if isinstance(row, dict) else None
    if not isinstance(fields, dict) or not all(isinstance(row.get(name), str) for name in ("id", "split")):
        raise UserError("is not a row of shards; make them again with braid data shard")
    return Example(row["id"], {role: _value(role, fields[role], folder, exists) for role in fields}, row["split"], source)


def _value(role: str, value: Any, folder: Path, exists: Callable[[str | Path], bool]) -> Any:
    """Read a value: a file's position in its tar, one or several texts, or what the role's modality reads from JSON."""
    modality = modality_of(role)
    texts = value if isinstance(value, list) else [value]
    if modality and modality.suffixes:
        return _part(role, value, folder, exists) if isinstance(value, dict) else _file(role, value, folder, exists)
    if modality is None and all(isinstance(one, int | float) for one in texts):
        return tuple(value) if isinstance(value, list) else value
    if not all(isinstance(text, str) for text in texts):
        if modality is None:
            raise UserError(f"{role} is not text; make the shards again with braid data shard")
        return modality.from_json(value)
    for text in texts:
        if not is_text(text):
            raise UserError(f"{role} is not text; make the shards again with braid data shard")
        check_length(text, f"its {role}")
    return tuple(value) if isinstance(value, list) else str(value)


def _part(role: str, value: dict[str, Any], folder: Path, exists: Callable[[str | Path], bool]) -> Clip:
    start, end = value.get("start"), value.get("end")
    if not isinstance(start, int | float) or not isinstance(end, int | float | None):
        raise UserError(f"{role} has the times {start!r} and {end!r}; make the shards again with braid data shard")
    return Clip(_file(role, value.get("file"), folder, exists), start, end)


def _file(role: str, value: Any, folder: Path, exists: Callable[[str | Path], bool]) -> str:
    archive = archive_of(value) if isinstance(value, str) and is_text(value) else None
    if archive is None or os.path.basename(archive) != archive:
        raise UserError(f"{role} is {str(value)[:80]!r}, not a part of a tar; make the shards again with braid data shard")
    if not exists(folder / archive):
        raise Missing(f"{folder / archive} does not exist; copy it beside {FILE}")
    return str(folder / value)


def write_shards(
    examples: Iterable[Example], folder: Path, size: int, longest: int, on_skipped: Callable[[str, str], None]
) -> Sharded:
    """Write rows and their files to ``folder``, in order. The folder is complete or does not exist.

    Files are copied byte for byte, and images in memory become PNGs; a file that several rows share is stored once.

    Args:
        size: bytes after which a new tar begins.
        longest: maximum pixels of the longer side; a larger image becomes a JPEG of that size. 0 keeps all images unchanged.
        on_skipped: called with the source and the reason when a row is skipped, because a file cannot be read.
    """
    rows = 0
    with whole(folder) as fresh:
        fresh.mkdir()
        with _Tars(fresh, size) as tars, open(fresh / FILE, "w", encoding="utf-8", errors=ESCAPED) as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            for example in examples:
                try:
                    fields = {role: _written(role, value, example, tars, longest) for role, value in example.fields.items()}
                except UserError as error:
                    on_skipped(example.source, str(error))
                    continue
                file.write(json_text({"id": example.id, "split": example.split, "fields": fields}, ensure_ascii=False) + "\n")
                rows += 1
    return Sharded(rows, len(tars.places), tars.count, tars.total)


def _written(role: str, value: Any, example: Example, tars: "_Tars", longest: int) -> Any:
    """A file's position in a tar; any other value unchanged, if JSON can represent it. Parts of a file share the whole of it."""
    modality = modality_of(role)
    if isinstance(value, Clip):
        return {"file": _written(role, value.file, example, tars, longest), "start": value.start, "end": value.end}
    if modality and modality.suffixes:
        key = (modality.kind, modality.key(value))
        if key not in tars.places:
            tars.add(key, *modality.encoded(value, example.source, longest))
        return tars.places[key]
    texts = value if isinstance(value, tuple) else (value,)
    if modality is None and not all(isinstance(one, str | int | float) for one in texts):
        raise UserError(f"{example.source}: {role} is not text; shards hold text and the inputs of models")
    return value


class _Tars:
    """Tars that are filled one after another, and the position of each file."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._tar: tarfile.TarFile | None = None
        self.places: dict[Any, str] = {}
        self.count = self.total = 0

    def __enter__(self) -> "_Tars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def add(self, key: Any, data: bytes, ending: str) -> None:
        if self._tar is None or self._tar.offset + len(data) > self._size:
            self.__exit__()
            self._tar = tarfile.open(self._folder / f"{self.count:05d}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self.count += 1
        member = tarfile.TarInfo(f"{len(self.places):08d}{ending}")
        member.size = len(data)
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(member, io.BytesIO(data))
        self.places[key] = part_name(f"{self.count - 1:05d}.tar", offset, len(data))
        self.total += len(data)
