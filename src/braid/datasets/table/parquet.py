"""Parquet files: read in small batches, and written with the original column types."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from braid.config import parse_json
from braid.datasets.table.cells import as_text
from braid.errors import UserError, install_command
from braid.files import writable
from braid.files.foreign import told

BATCH = 64  # rows in memory at once; with photos, a few megabytes
FOLD = 100  # the most that a large column may unpack to, times its size: photos unpack to 1, text to 20, a bomb to 30,000
ROOM = 64_000_000  # bytes that every column may unpack to
VALUE = 8  # bytes that a value takes at least
GROUP = 1024  # rows per written group, the least that a reader has to read


def check_installed(path: Path) -> None:
    """Check before long work that ``path`` can be read or written."""
    _parquet(path)


def read_columns(path: Path) -> tuple[str, ...]:
    """The names of a file's columns.

    Raises:
        UserError: when pyarrow is not installed, or the file is missing, not parquet, too large unpacked, or has no rows.
    """
    with _opened(path) as file:
        _batch_size(path, file)
        columns, rows = tuple(file.schema_arrow.names), file.metadata.num_rows
    if not rows:
        raise UserError(f"{path} has no rows; a table needs at least one")
    return columns


def read_classes(path: Path) -> dict[str, tuple[str, ...]]:
    """Column -> names of its classes, from Hugging Face's metadata in the file, for one label per row or a list of labels."""
    with _opened(path) as file:
        note = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = parse_json(note.decode())["info"]["features"]
        result = {column: _class_names(feature) for column, feature in features.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # metadata of another program
        return {}
    return {column: names for column, names in result.items() if names}


def _class_names(feature: Any) -> tuple[str, ...]:
    """The class names of a feature; a list is written as [feature], or as {"feature": feature}."""
    if isinstance(feature, list):
        return _class_names(feature[0])
    inner, names = feature.get("feature"), feature.get("names")
    return _class_names(inner) if isinstance(inner, dict) else tuple(map(str, names)) if isinstance(names, list) else ()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as Python values: bytes, lists and dicts keep their types; null is None."""
    with _opened(path) as file:
        for batch in file.iter_batches(_batch_size(path, file), use_threads=False):
            yield from _without_nanoseconds(batch).to_pylist()


def _batch_size(path: Path, file: Any) -> int:
    """Rows to hold at once: fewer if one packed text may fill many rows.

    Raises:
        UserError: when the file is a bomb: a few kilobytes that unpack to gigabytes.
        ArrowException, OSError: when a column's description is damaged.
    """
    metadata = file.metadata
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    _check_size(f"{path}", path.stat().st_size, sum(group.total_byte_size for group in groups), metadata.num_columns)
    for place in range(len(groups)):
        # pyarrow 26 ends the process when it is asked for a damaged description, but raises when it reads the column.
        next(file.iter_batches(1, row_groups=[place], use_threads=False), None)
    chunks = [(group.num_rows, group.column(place)) for group in groups for place in range(group.num_columns)]
    _check_size(f"{path}", sum(chunk.total_compressed_size for _, chunk in chunks), VALUE * metadata.num_rows)
    largest = 1
    for rows, chunk in chunks:
        listed = VALUE * chunk.num_values if chunk.num_values > rows else 0
        unpacked = max(chunk.total_uncompressed_size, listed)
        _check_size(f"{path}: column {chunk.path_in_schema!r}", chunk.total_compressed_size, unpacked)
        if unpacked > FOLD * chunk.total_compressed_size:
            largest = max(largest, unpacked)
    return min(BATCH, max(1, ROOM // largest))


def _check_size(what: str, packed: int, unpacked: int, columns: int = 1) -> None:
    if unpacked > max(ROOM * columns, FOLD * packed):
        size = f"unpacks to {unpacked / 1e6:,.0f} MB, more than {FOLD} times its size"
        raise UserError(f"{what} {size}, which no data does; check that it is the right file")


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], like: Path | None = None) -> None:
    """Write a file; columns that exist in the file ``like`` keep their types and metadata."""
    import pyarrow as pa

    parquet = _parquet(path)
    known = pa.schema([])
    if like is not None:
        with _opened(like) as file:
            known = file.schema_arrow
    types = {field.name: field.type for field in known}
    arrays = [_column([row.get(name) for row in rows], types.get(name)) for name in columns]
    table = pa.Table.from_arrays(arrays, [writable(name) for name in columns]).replace_schema_metadata(known.metadata)
    with _named(path, "wb") as target:
        parquet.write_table(table, target, row_group_size=GROUP)


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError(f"{path} needs pyarrow, which is not installed; run: {install_command('parquet')}") from None
    return pyarrow.parquet


def _named(path: Path, mode: str) -> Any:
    """An open file; pyarrow reads a name as UTF-8, unless it is bytes."""
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path), mode)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file; pyarrow's errors about a missing or damaged file become errors that name the file."""
    parquet = _parquet(path)
    import pyarrow as pa

    try:
        with _named(path, "rb") as source, parquet.ParquetFile(source, buffer_size=1 << 20) as file:
            yield file
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except (pa.ArrowException, OSError, ValueError, OverflowError, LookupError) as error:  # LookupError: an unknown time zone
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        otherwise = f"cannot be read as parquet ({reason}); it may be cut short, copy it again"
        raise UserError(told(path, otherwise, ("parquet",))) from None


def _without_nanoseconds(batch: Any) -> Any:
    """Convert nanosecond times, which Python's types cannot represent, to text."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            batch = batch.set_column(place, field.name, batch.column(place).cast(pa.string()))
    return batch


def _column(values: list[Any], type: Any) -> Any:
    """Values as an array of this type if possible, otherwise of their common type, otherwise of text."""
    import pyarrow as pa

    ways = (lambda: pa.array(values, type), lambda: pa.array(values).cast(type), lambda: pa.array(values))
    for way in ways[0 if type is not None else 2 :]:
        try:
            result = way()
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
        if "struct<>" not in str(result.type):  # parquet cannot write empty structs
            return result
    return pa.array([None if value is None else writable(str(as_text(value))) for value in values], pa.string())
