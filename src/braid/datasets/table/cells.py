"""Cells that a format has no word for, as text."""

import base64
import json
from typing import Any


def plain(value: Any) -> str:
    """What JSON cannot say: bytes in base64, dates and decimals as they print."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def as_text(value: Any) -> Any:
    """A cell for a format that knows text alone: lists and sections as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=plain)
    return plain(value) if isinstance(value, bytes) else value
