"""Times as people and programs write them: seconds, or hours, minutes and seconds."""

import math
import re
from datetime import time, timedelta
from typing import Any

from braid.errors import UserError

CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,9})?)", re.ASCII)  # 1:02:03.5, 62:03, 00:01:02,500
SECONDS = re.compile(r"-?\d{1,12}(?:[.,]\d{1,12})?", re.ASCII)


def read_seconds(value: Any, what: str) -> float:
    """Seconds from a number, a duration, or a text such as ``62.5``, ``1:02.5`` or ``0:01:02,5``.

    Raises:
        UserError: when it is no time; ``what`` names it.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    text = str(value).strip()
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, bool) or not (SECONDS.fullmatch(text) or CLOCK.fullmatch(text)):
        shown = repr(value)[:60]
        raise UserError(f"{what} is {shown}, which is no time; write seconds, such as 62.5, or 0:01:02.5")
    result = CLOCK.fullmatch(text)
    if not result:
        return float(text.replace(",", "."))
    hours, minutes, seconds = result.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
