"""The text files of a run: logs that a kill may have cut, and pages that are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines log in order; a last line that a killed run left half written is no record."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def write_whole(path: Path, text: str) -> None:
    """Write aside and rename: a reader, or a kill, meets the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
