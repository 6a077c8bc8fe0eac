"""Numbers that environment variables set, such as ``OMP_NUM_THREADS``."""

import os
import re

from braid.errors import UserError

MOST_THREADS = 1024


def threads() -> int:
    """The threads that ``OMP_NUM_THREADS`` gives; 0 means every core, and so does a value that is no number of threads.

    The variable may be a list with a number for each level (``2,2``), of which the first counts.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(int(first), MOST_THREADS) if re.fullmatch("[0-9]{1,9}", first) else 0


def drop_odd_widths() -> None:
    """Remove widths of the terminal that are no width (``COLUMNS=0``), which the libraries that print do not expect."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        if not re.fullmatch("0*[1-9][0-9]{0,4}", os.environ.get(name, "80")):
            del os.environ[name]


def place_in_group(name: str, default: int) -> int:
    """A number that torchrun gives each of its processes: ``RANK``, ``LOCAL_RANK`` or ``WORLD_SIZE``.

    Raises:
        UserError: when it is set, and no whole number.
    """
    text = os.environ.get(name, "").strip() or str(default)
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UserError(
            f"the environment variable {name} is {text!r}, not a whole number; start Braid with torchrun, or unset it"
        )
    return int(text)
