"""Cells that a format has no word for, as text."""

import base64
import json
from collections.abc import Sequence
from typing import Any


def plain(value: Any) -> str:
    """What JSON cannot say: bytes in base64, dates and decimals as they print."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def class_named(value: Any, names: Sequence[str]) -> Any:
    """A label's name for its number, or each of several; -1 is Hugging Face's word for none. What has no name stays."""
    if isinstance(value, list):
        return [class_named(one, names) for one in value]
    if not isinstance(value, int) or isinstance(value, bool) or value >= len(names):
        return value
    return names[value] if value >= 0 else None


def as_text(value: Any) -> Any:
    """A cell for a format that knows text alone: lists and sections as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=plain)
    return plain(value) if isinstance(value, bytes) else value
