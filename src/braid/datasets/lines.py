"""Plain text, one example per line; gzip, too."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from io import TextIOBase
from pathlib import Path

from braid.datasets.dataset import Dataset, Rows, SkippedRow, skipped_row
from braid.datasets.splits import with_splits
from braid.errors import UserError
from braid.modalities.cells import LONGEST, check_length
from braid.records import Example

VAL_SHARE = 0.01  # a small share, because text files are large
KEPT = 10 * LONGEST  # characters of a line that are kept in memory


def recognise(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".txt", ".txt.gz"))


def open_lines(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per non-empty line, as ``text``."""
    skipped: list[SkippedRow] = []
    try:
        rows = Rows(_examples(path, skipped))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}); save it again") from None
    return with_splits(Dataset(str(path), "lines of text", rows, tuple(skipped), {"text": "line"}), VAL_SHARE)


def _examples(path: Path, skipped: list[SkippedRow]) -> Iterator[Example]:
    """Yield the lines as examples; lines that are too long are appended to ``skipped``."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        for number, line in enumerate(_lines(file), 1):
            text, source = line.strip(), f"{path.name}, line {number}"
            try:
                if text:
                    yield Example(str(number), {"text": check_length(text, "it")}, source=source)
            except UserError as error:
                skipped.append(skipped_row(source, error))


def _lines(file: TextIOBase) -> Iterator[str]:
    """The lines, each cut after ``KEPT`` characters: a megabyte of gzip may hold one line of a gigabyte."""
    while line := file.readline(KEPT):
        rest = line
        while len(rest) == KEPT and not rest.endswith("\n"):
            rest = file.readline(KEPT)
        yield line
