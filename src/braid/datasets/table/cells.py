"""Converts cells that a format cannot represent to text."""

import base64
from collections.abc import Sequence
from typing import Any

from braid.config import json_text


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
