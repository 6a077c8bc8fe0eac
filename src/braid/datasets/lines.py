"""Plain text, one example a line; gzip too."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from braid.datasets.dataset import Dataset, with_splits
from braid.errors import UserError
from braid.records import Example

VAL_SHARE = 0.01  # text is plentiful


def recognise(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".txt", ".txt.gz"))


def open_lines(path: Path, columns: Mapping[str, str]) -> Dataset:
    """Every line that is not empty, as ``text``."""
    try:
        examples = with_splits(_examples(path), VAL_SHARE)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}); save it again") from None
    return Dataset(str(path), "lines of text", examples, columns={"text": "line"})


def _examples(path: Path) -> Iterator[Example]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Example(str(number), {"text": line.strip()}, source=f"{path.name}, line {number}")
