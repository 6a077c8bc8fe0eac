"""JSON that Braid wrote, read again: it may be cut, damaged, or made by somebody else."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from braid.config import parse_json
from braid.errors import UserError
from braid.files.foreign import told
from braid.files.reading import LARGEST, regular
from braid.files.text import read_text

COPY = "copy it again"


def read_json(path: Path, then: str = COPY) -> Any:
    """Read a JSON file.

    Args:
        then: what to do if it is damaged, for the message.
    Raises:
        FileNotFoundError: when there is none.
        UserError: naming the file, when it cannot be read or is not JSON.
    """
    text = _text_of(path, LARGEST, then)
    try:
        return _json_of(text, str(path), then)
    except UserError as error:
        raise UserError(told(path, str(error).removeprefix(f"{path} "))) from None


def read_json_lines(path: Path, then: str = COPY) -> list[dict[str, Any]]:
    """Read a file of JSON lines, each an object; NaN is allowed. A last line without a line break is left out if it is not whole:
    a process was killed while it wrote that line.

    Raises:
        FileNotFoundError: when there is none.
        UserError: naming the file and the line.
    """
    *lines, last = _text_of(path, math.inf, then).split("\n")
    with suppress(json.JSONDecodeError):
        lines += [last] if isinstance(parse_json(last, nan=True), dict) else []
    return [_object_of(line, f"{path}, line {number},", then) for number, line in enumerate(lines, 1) if line.strip()]


@contextmanager
def as_written(path: Path, then: str = COPY) -> Iterator[None]:
    """Read values in the block: a missing key or a value of another type than Braid writes is an error about the file.

    Raises:
        UserError: naming the file.
    """
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds other values than Braid writes ({type(error).__name__}: {error}); {then}") from None


def _text_of(path: Path, most: int | float, then: str) -> str:
    try:
        return read_text(regular(path, most))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise UserError(told(path, f"cannot be read ({error}); {then}")) from None


def _json_of(text: str, where: str, then: str, nan: bool = False) -> Any:
    try:
        return parse_json(text, nan)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON ({error}); {then}") from None


def _object_of(line: str, where: str, then: str) -> dict[str, Any]:
    result = _json_of(line, where, then, nan=True)
    if not isinstance(result, dict):
        raise UserError(f"{where} is not an object; {then}")
    return result
