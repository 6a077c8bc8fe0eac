"""Converts cells that a format cannot represent to text, and reads lists that a program wrote as text."""

import ast
import base64
import re
import warnings
from collections.abc import Sequence
from typing import Any

from braid.config import json_text
from braid.datasets.dataset import SkippedRow
from braid.errors import UserError
from braid.modalities.cells import LONGEST, parse

Row = dict[str, Any] | SkippedRow

_CLOSING = {"[": "]", "(": ")", "{": "}"}
# an item of a list as Python, pandas or numpy print it: a text in quotes, or None, a number; a comma or white space follows
_ITEM = re.compile(
    r"""\s*(?:('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(None|nan|NaN|True|False|[+-]?\d+(?:\.\d*)?))(?=[\s,\])}])\s*,?\s*""",
    re.DOTALL,
)


def plain(value: Any) -> str:
    """A value that JSON cannot represent, as text: bytes in base64, dates and decimals as printed."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def class_named(value: Any, names: Sequence[str]) -> Any:
    """Replace a label's number by its name, also in a list. -1 means no label (as in Hugging Face); other values stay."""
    if isinstance(value, list):
        return [class_named(one, names) for one in value]
    if not isinstance(value, int) or isinstance(value, bool) or value >= len(names):
        return value
    return names[value] if value >= 0 else None


def as_text(value: Any) -> Any:
    """A cell for a format that has only text: lists and dicts become JSON."""
    if isinstance(value, list | dict):
        return json_text(value, ensure_ascii=False, default=plain)
    return plain(value) if isinstance(value, bytes) else value


def listed(text: str, quoted: bool = False) -> Any:
    """The list (or the object) that a cell holds as text, in JSON or as Python and numpy print it; otherwise the text.

    Args:
        quoted: only lists of texts in quotes, because the text ``[0, 10]`` may also be a label.
    """
    inside = text.strip()
    closing = _CLOSING.get(inside[:1])
    if closing is None or not inside.endswith(closing) or len(inside) > LONGEST:
        return text
    if (quoted or closing != "]") and inside[1:].lstrip()[:1] not in ("'", '"'):
        return text
    try:
        return parse(inside)
    except UserError:
        return _printed(inside, text)


def _printed(inside: str, text: str) -> Any:
    """The list that Python or numpy printed, or ``text``."""
    items, place = list[Any](), 1 + len(inside[1:]) - len(inside[1:].lstrip())
    while place < len(inside) - 1 and (match := _ITEM.match(inside, place)):
        items.append(_literal(match[1] or match[2].replace("nan", "None").replace("NaN", "None")))
        place = match.end()
    if place == len(inside) - 1:
        return items
    value = _literal(inside)  # lists of lists, and objects
    return value if isinstance(value, list | dict) else text


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d", which is no escape
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
