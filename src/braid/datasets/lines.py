"""Plain text, one example a line; gzip too."""

import gzip
import zlib
from collections.abc import Mapping
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
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error}); save it again") from None
    examples = [
        Example(str(number), {"text": line}, source=f"{path.name}, line {number}") for number, line in enumerate(lines, 1) if line
    ]
    return Dataset(str(path), "lines of text", with_splits(examples, VAL_SHARE), columns={"text": "line"})
