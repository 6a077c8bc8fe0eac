"""A data set in a few large files: its rows in shards.jsonl, its pictures in 00000.tar, 00001.tar, ... beside it.

Tar rather than Parquet: a picture is read alone by where it lies, without the group of rows around it and without pyarrow; the
files are written and copied from one end to the other; and ``tar -xf`` gives the pictures back.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from braid.datasets.dataset import Dataset, Missing, Rows, SkippedRow, check_length, file_finder, is_text, parse, skipped_row
from braid.errors import UserError
from braid.files import whole
from braid.files.tar_members import archive_of, part_name
from braid.modalities import ImageModality, ImageModalityConfig
from braid.records import Example

FILE = "shards.jsonl"
FORMAT = 1
IMAGES = ("image", "target")  # roles that hold a picture
QUALITY = 92  # of a JPEG that is made smaller


@dataclass(frozen=True)
class Sharded:
    """What was written: rows, distinct pictures, tars, and bytes of these."""

    num_rows: int
    num_pictures: int
    num_shards: int
    num_bytes: int


def recognise(path: Path) -> bool:
    return (path / FILE).is_file()


def open_shards(path: Path, columns: Mapping[str, str]) -> Dataset:
    """The rows of ``write_shards``, in their order; a row that is damaged, or whose tar is gone, is left out."""
    skipped: list[SkippedRow] = []
    return Dataset(str(path), "shards (tar)", Rows(_read(path, skipped)), tuple(skipped))


def _read(folder: Path, skipped: list[SkippedRow]) -> Iterator[Example]:
    exists = file_finder()
    with open(folder / FILE, encoding="utf-8", errors="replace") as file:
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
        raise UserError("is no row of shards; make them again with braid data shard")
    return Example(row["id"], {role: _value(role, fields[role], folder, exists) for role in fields}, row["split"], source)


def _value(role: str, value: Any, folder: Path, exists: Callable[[str | Path], bool]) -> str | tuple[str, ...]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and is_text(text) for text in texts):
        raise UserError(f"{role} is no text; make the shards again with braid data shard")
    if role in IMAGES and isinstance(value, str):
        archive = archive_of(value)
        if archive is None or os.path.basename(archive) != archive:
            raise UserError(f"{role} is {value[:80]!r}, no part of a tar; make the shards again with braid data shard")
        if not exists(folder / archive):
            raise Missing(f"{folder / archive} does not exist; copy it beside {FILE}")
        return str(folder / value)
    for text in texts:
        check_length(text, f"its {role}")
    return tuple(value) if isinstance(value, list) else str(value)


def write_shards(
    examples: Iterable[Example], folder: Path, size: int, longest: int, on_skipped: Callable[[str, str], None]
) -> Sharded:
    """Write rows and their pictures to ``folder``, in order; it appears whole or not at all.

    A picture in a file is copied byte for byte, any other becomes a PNG; one that several rows share is kept once.

    Args:
        size: bytes after which another tar is begun.
        longest: pixels, of the longer side; a larger picture becomes a JPEG of that size. 0 leaves all as they are.
        on_broken: is told source and reason of a row whose picture cannot be read; it is left out.
    """
    modality = ImageModalityConfig(size=longest or 224).build()
    rows = 0
    with whole(folder) as fresh:
        fresh.mkdir()
        with _Tars(fresh, size) as tars, open(fresh / FILE, "w", encoding="utf-8") as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            for example in examples:
                try:
                    fields = {
                        role: _written(role, value, example, tars, modality, longest) for role, value in example.fields.items()
                    }
                except UserError as error:
                    on_skipped(example.source, str(error))
                    continue
                file.write(json.dumps({"id": example.id, "split": example.split, "fields": fields}, ensure_ascii=False) + "\n")
                rows += 1
    return Sharded(rows, len(tars.places), tars.count, tars.total)


def _written(role: str, value: Any, example: Example, tars: "_Tars", modality: ImageModality, longest: int) -> Any:
    if role not in IMAGES:
        texts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(text, str) for text in texts):
            raise UserError(f"{example.source}: {role} is no text, and shards hold pictures and text only")
        return value
    key = value if isinstance(value, str | bytes) else id(value)
    if key not in tars.places:
        tars.add(key, *_encoded(value, example.source, modality, longest))
    return tars.places[key]


def _encoded(value: Any, source: str, modality: ImageModality, longest: int) -> tuple[bytes, str]:
    """A picture's bytes and the ending of its name, once it is known to be whole; raises as ``ImageModality.prepare`` does."""
    image = modality.decoded(value, source)
    with io.BytesIO() as file:
        if longest and max(image.size) > longest:
            image = image.copy()
            image.thumbnail((longest, longest), Image.Resampling.BICUBIC)
            image.save(file, "JPEG", quality=QUALITY)
            return file.getvalue(), ".jpg"
        if isinstance(value, bytes):
            return value, ".image"
        if isinstance(value, str | os.PathLike) and archive_of(str(value)) is None:
            return Path(value).read_bytes(), Path(value).suffix.lower()
        image.save(file, "PNG")
        return file.getvalue(), ".png"


class _Tars:
    """Tars that are filled one after another, and where each picture went."""

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
