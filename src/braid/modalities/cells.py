"""Checked reading of table cells and JSON, which all modalities share."""

import json
import os
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from braid.config import NotStandard, parse_json
from braid.errors import Missing, UserError

NO_TEXT = "holds half a character (a lone surrogate), which is not text"
NO_ZERO = "holds a character 0, which is not text"
LONGEST = 100_000  # characters of one text: a long chapter, which the tokenizer reads in a moment
SHOWN = 80  # characters of a value in a message


def text_cell(value: Any, column: str) -> str:
    """Read a cell as text, without surrounding white space; dates and times as in ISO 8601.

    Raises:
        Missing: when the cell is empty.
        UserError: when the cell is not text.
    """
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal | timedelta):
        kind = Missing if value is None else UserError
        raise kind(f"column {column!r} is {shown(value)}, not text; fill it in or remove the row")
    if isinstance(value, float) and value != value:
        raise Missing(f"column {column!r} is NaN, not text; fill it in or remove the row")
    if not str(value).strip():
        raise Missing(f"column {column!r} is empty; fill it in or remove the row")
    return check_length(check_text(str(value).strip(), f"column {column!r}"), f"column {column!r}")


def file_cell(value: Any, column: str) -> str | bytes:
    """Read a cell as the path of a file, which need not be UTF-8, or as the bytes of one. Hugging Face data sets have
    {bytes, path}, of which one may be null.

    Raises:
        Missing: when the cell is empty.
        UserError: when the cell is neither.
    """
    if isinstance(value, dict) and "path" in value and isinstance(value.get("bytes"), bytes | None):
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        if not value:
            raise Missing(f"column {column!r} is empty; fill it in or remove the row")
        return value
    return str(value) if isinstance(value, str) and is_file_name(value) else text_cell(value, column)


def shown(value: Any) -> str:
    """A value in a message: the beginning of its ``repr``."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def check_length(text: str, what: str) -> str:
    """Return ``text`` if it has a reasonable length.

    Raises:
        UserError: when it is too long; ``what`` names it.
    """
    if len(text) > LONGEST:
        raise UserError(f"{what} has {len(text):,} characters, at most {LONGEST:,} are read; shorten it or remove the row")
    return text


def check_text(text: Any, what: str) -> str:
    """Return ``text`` if it says something.

    Raises:
        UserError: when it is no text, is blank, or holds half a character; ``what`` names it.
    """
    if not isinstance(text, str):
        raise UserError(f"{what} is {shown(text)}, not text; write it as text")
    if not text.strip():
        raise UserError(f"{what} is empty; write one")
    if reason := why_no_text(text):
        raise UserError(f"{what} {reason}; write it again")
    return text


def is_file_name(value: str) -> bool:
    """Whether a string is the name of a file that is not UTF-8: Python keeps each such byte as half a character."""
    try:
        return not is_text(value) and bool(os.fsencode(value))
    except UnicodeEncodeError:
        return False


def is_text(value: str) -> bool:
    """Whether a string is valid UTF-8; JSON allows lone surrogates (``\\ud800``), which no file and no tokenizer accepts."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def why_no_text(value: str) -> str:
    """What makes a string unreadable as text; "" if nothing does."""
    if "\0" in value:
        return NO_ZERO
    return "" if is_text(value) else NO_TEXT


def is_empty(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, white space, or a Hugging Face file without bytes and path."""
    if isinstance(value, dict) and "path" in value:
        value = value.get("bytes") or value.get("path")
    nan = isinstance(value, float | date) and value != value  # pandas' NaT is a date
    return value is None or nan or (isinstance(value, str | bytes) and not value.strip())


def parse(text: str) -> Any:
    """Parse the JSON of one row. NaN is allowed here, and rejected where the value is used.

    Raises:
        UserError: with a short reason.
    """
    try:
        return parse_json(text, nan=True)
    except NotStandard:
        raise UserError("nesting or a number without end") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{error.msg}, column {error.colno}") from None
