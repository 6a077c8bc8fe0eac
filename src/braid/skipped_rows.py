"""Rows that a command skips: each is reported once, counted, and listed in a file."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from braid.files import as_written, read_json_lines, writable, write_whole

FILE = "skipped_rows.jsonl"  # in a run's folder
SHOWN = 20  # rows that are reported one by one; further rows are only counted


class SkippedRows:
    """Collects rows that could not be read. A row is identified by its ``source`` ("photos.csv, row 12"), or by its reason."""

    def __init__(self, on_note: Callable[[str], None]) -> None:
        self._on_note = on_note
        self._reasons: dict[str, str] = {}
        self._unsaved = True

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, source: str) -> bool:
        return source in self._reasons

    def add(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add (source, reason) of each row, and report the new ones."""
        for source, reason in rows:
            if (source or reason) in self._reasons:
                continue
            said = writable(source)  # as messages have it
            self._reasons[source or reason] = reason.removeprefix(f"{said}: ")
            self._unsaved = True
            if len(self) <= SHOWN:
                self._on_note(f"skipped: {reason if reason.startswith(said) else f'{said}: {reason}'}")
            elif len(self) == SHOWN + 1:
                self._on_note("skipped: more rows, which are counted and listed but no longer reported one by one")

    def save(self, path: Path) -> None:
        """Write the rows as JSON lines {"source", "reason"}, if rows were added since the last call."""
        if self._unsaved:
            rows = ({"source": source, "reason": reason} for source, reason in self._reasons.items())
            write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            self._unsaved = False

    def load(self, path: Path) -> None:
        """Load the rows of an earlier list, so that they are not reported again."""
        if path.exists():
            with as_written(path, "remove it"):
                self._reasons.update((str(row["source"]), str(row["reason"])) for row in read_json_lines(path, "remove it"))
