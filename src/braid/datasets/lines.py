"""Plain text, one example per line; gzip, too."""

import math
import zlib
from collections.abc import Iterator, Mapping
from io import TextIOBase
from pathlib import Path

from braid.datasets.dataset import Dataset, Rows, SkippedRow, skipped_row
from braid.datasets.splits import with_splits
from braid.errors import UserError
from braid.files.text import not_text, open_text
from braid.modalities.cells import LONGEST, check_length, why_no_text
from braid.records import Example

VAL_SHARE = 0.01  # a small share, because text files are large
KEPT = 10 * LONGEST  # characters of a line that are kept in memory
FOLD = 200  # the most that a file may unpack to, times its size: text unpacks to 5 times, logs to 50, a bomb to 1,000
ROOM = 100_000_000  # characters that every file may unpack to


def recognise(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".txt", ".txt.gz"))


def open_lines(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per non-empty line, as ``text``."""
    skipped: list[SkippedRow] = []
    try:
        rows = Rows(_examples(path, skipped))
    except UnicodeError:
        raise not_text(path) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}); save it again") from None
    return with_splits(Dataset(str(path), "lines of text", rows, tuple(skipped), {"text": "line"}), VAL_SHARE)


def _examples(path: Path, skipped: list[SkippedRow]) -> Iterator[Example]:
    """Yield the lines as examples; lines that are too long, or no text, are appended to ``skipped``."""
    with open_text(path) as file:
        most = float(max(ROOM, FOLD * path.stat().st_size)) if path.suffix == ".gz" else math.inf
        for number, line in enumerate(_lines(file, path, most), 1):
            text, source = line.strip(), f"{path.name}, line {number}"
            try:
                if reason := why_no_text(text):
                    raise UserError(f"{reason}; write it again")
                if text:
                    yield Example(str(number), {"text": check_length(text, "it")}, source=source)
            except UserError as error:
                skipped.append(skipped_row(source, error))


def _lines(file: TextIOBase, path: Path, most: float) -> Iterator[str]:
    """The lines, each cut after ``KEPT`` characters: a megabyte of gzip may hold one line of a gigabyte."""
    total = 0
    while line := file.readline(KEPT):
        rest = line
        total += len(rest)
        while len(rest) == KEPT and not rest.endswith("\n"):
            rest = file.readline(KEPT)
            total += len(rest)
        if total > most:
            raise UserError(
                f"{path} unpacks to more than {FOLD} times its size, which no text does; check that it is the right file"
            )
        yield line
