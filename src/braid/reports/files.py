"""The logs of a run, which a kill may have cut."""

import json
from pathlib import Path
from typing import Any

from braid.errors import UserError

RENAMED = "cider-d"  # what `cider` was called while `cider` meant the unclipped metric


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines log in order; a last line that a killed run left half written is no record.

    Raises:
        UserError: for a log whose caption metrics have their old names, where ``cider`` was another metric.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    if any(name.split(".")[-1] == RENAMED for record in records for name in record):
        raise UserError(f"{path} has old names of metrics; in this file rename cider to cider-2015, then cider-d to cider")
    return records
