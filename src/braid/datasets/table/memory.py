"""Rows in memory as a table file: a DataFrame, a ``datasets.Dataset``, dicts, or columns by name.

A run reads its rows many times, and again when it is resumed, so rows in memory become a file of the run. Images, samples and
bytes become files beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braid.config import json_text
from braid.datasets.table.cells import class_named, plain
from braid.errors import UserError
from braid.files.writing import whole
from braid.given import several_rows
from braid.modalities.audio.modality import wav

FILE = "rows.jsonl"
IMAGE_AXES = (2, 3)
SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"OggS": ".ogg", b"fLaC": ".flac", b"ID3": ".mp3"}
RIFF = {b"WAVE": ".wav", b"WEBP": ".webp"}


def kept(data: Any, folder: Path) -> Path:
    """Where the rows of ``data`` are: a path stays; rows in memory are written to ``folder/rows.jsonl``.

    Args:
        data: a path; a DataFrame of pandas or polars; a ``Dataset`` or ``DatasetDict`` of Hugging Face; dicts, one a row; a dict
            of columns; or a dict of tables by split: ``{"train": ..., "val": ...}``.
    Raises:
        UserError: when there are no rows, a row is no mapping, columns differ in length, or a value cannot be stored.
    """
    if isinstance(data, str | Path):
        return Path(data)
    writer = _Writer(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / FILE) as path, open(path, "w", encoding="utf-8") as file:
        number = 0
        for number, row in enumerate(_rows(data), 1):
            file.write(json_text(writer.row(row, number), ensure_ascii=False, default=plain) + "\n")
        if not number:
            raise UserError("data has no rows; a run needs at least two")
    return folder / FILE


def has_splits(data: Any) -> bool:
    """Whether ``data`` has a table for each split: ``{"train": frame, "val": frame}``."""
    return isinstance(data, Mapping) and bool(data) and all(map(_is_table, data.values()))


def _rows(data: Any) -> Iterator[Mapping[str, Any]]:
    if has_splits(data):
        for split, table in data.items():
            for row in _rows(table):
                yield {**row, "split": str(split)}
    elif hasattr(data, "to_dicts"):  # polars
        yield from data.to_dicts()
    elif hasattr(data, "itertuples"):  # pandas
        columns = [str(name) for name in data.columns]
        yield from (dict(zip(columns, values, strict=True)) for values in data.itertuples(index=False, name=None))
    elif hasattr(data, "features") and hasattr(data, "column_names"):  # datasets
        yield from _of_hugging_face(data)
    elif isinstance(data, Mapping):
        yield from _by_column(data)
    else:
        yield from several_rows(data)


def _of_hugging_face(data: Any) -> Iterator[dict[str, Any]]:
    """Rows with the names of classes in place of their numbers, and media as they were encoded."""
    for name, feature in data.features.items():
        if hasattr(feature, "decode"):
            data = data.cast_column(name, type(feature)(decode=False))
    classes = {name: names for name, feature in data.features.items() if (names := _class_names(feature))}
    for row in data:
        yield {name: class_named(value, classes[name]) if name in classes else value for name, value in row.items()}


def _is_table(value: Any) -> bool:
    """A DataFrame, a ``datasets.Dataset``, or a list of dicts."""
    rows = isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    return rows or hasattr(value, "column_names") or (hasattr(value, "columns") and hasattr(value, "shape"))


def _class_names(feature: Any) -> tuple[str, ...]:
    """The names of a ``ClassLabel``, or of a list of them."""
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    return tuple(names or ())


def _by_column(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    lengths = {name: len(values) if _is_column(values) else 0 for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or not max(lengths.values()):
        said = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise UserError(f"data is a dict of columns, and their lengths differ: {said}; give each column a value for every row")
    yield from (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _is_column(values: Any) -> bool:
    return isinstance(values, Sized) and not isinstance(values, str | bytes | Mapping)


@dataclass
class _Writer:
    """Turns values into cells of JSON; media become files in ``folder``."""

    folder: Path
    _are_files: dict[str, bool] = field(default_factory=dict)  # by column, by its first text

    def row(self, row: Mapping[str, Any], number: int) -> dict[str, Any]:
        return {str(name): self._cell(value, str(name), f"{number}-{name}") for name, value in row.items()}

    def _cell(self, value: Any, column: str, name: str) -> Any:
        if value is None or isinstance(value, bool | int) or _is_missing(value):
            return None if _is_missing(value) else value
        if isinstance(value, str | Path):
            return self._text(str(value), column)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value), name)
        if isinstance(value, Image.Image):
            return self._written(name, ".png", lambda path: value.save(path, "PNG"))
        if isinstance(value, Mapping):
            return self._mapping(value, column, name)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray):
            return self._samples(*value, name)
        if isinstance(value, np.ndarray):
            return self._array(value, column, name)
        if isinstance(value, list | tuple | set):
            return [self._cell(one, column, f"{name}-{place}") for place, one in enumerate(value)]
        return value if isinstance(value, float) else plain(value)

    def _text(self, text: str, column: str) -> str:
        """A text, or the whole path of a file; the first text of a column says which it has."""
        if self._are_files.setdefault(column, _is_file(text)):
            return str(Path(text).resolve()) if _is_file(text) else text
        return text

    def _mapping(self, value: Mapping[str, Any], column: str, name: str) -> Any:
        """A dict; those of Hugging Face's images and recordings are their content."""
        if set(value) == {"bytes", "path"}:
            return self._bytes(value["bytes"], name) if value["bytes"] else self._text(str(value["path"]), column)
        if {"array", "sampling_rate"} <= set(value):
            return self._samples(np.asarray(value["array"]), value["sampling_rate"], name)
        return {str(key): self._cell(one, f"{column}.{key}", f"{name}-{key}") for key, one in value.items()}

    def _array(self, value: np.ndarray, column: str, name: str) -> Any:
        if value.ndim in IMAGE_AXES and value.dtype == np.uint8:
            image = Image.fromarray(value.squeeze(-1) if value.shape[-1:] == (1,) else value)
            return self._written(name, ".png", lambda path: image.save(path, "PNG"))
        if value.ndim > 1:
            what = f"an array of {value.ndim} axes and type {value.dtype}"
            raise UserError(f"column {column!r} holds {what}; an image is uint8 [height, width, 3], a clip is a file")
        return [self._cell(one, column, name) for one in value.tolist()]

    def _samples(self, samples: np.ndarray, rate: Any, name: str) -> str:
        """A recording [n] or [n, channels] as a mono WAV file."""
        whole_numbers = np.issubdtype(samples.dtype, np.integer)
        values = samples / -float(np.iinfo(samples.dtype).min) if whole_numbers else samples
        mono = values if values.ndim == 1 else values.mean(1)
        return self._bytes(wav(mono.astype(np.float32), int(rate)), name)

    def _bytes(self, content: bytes, name: str) -> str:
        return self._written(name, _suffix(content), lambda path: path.write_bytes(content))

    def _written(self, name: str, suffix: str, write: Callable[[Path], Any]) -> str:
        media = self.folder / "media"
        media.mkdir(exist_ok=True)
        path = media / f"{''.join(sign if sign.isalnum() or sign in '-_' else '_' for sign in name)}{suffix}"
        write(path)
        return f"media/{path.name}"


def _suffix(content: bytes) -> str:
    """The suffix of encoded media, by how they begin; "" if it is none that Braid reads."""
    if content.startswith(b"RIFF"):
        return RIFF.get(content[8:12], "")
    if content[4:8] == b"ftyp":
        return ".mp4"
    return next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), "")


def _is_missing(value: Any) -> bool:
    """NaN, NaT or NA."""
    return type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _is_file(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):  # too long, or an odd character: no name
        return False
