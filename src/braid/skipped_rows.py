"""The rows that a command skips: each is reported once, counted, and listed in a file."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from braid.files import write_whole

FILE = "skipped_rows.jsonl"  # in a run's folder
SHOWN = 20  # rows reported in full; more are counted


class SkippedRows:
    """Collects what could not be read. A row is known by its ``source`` ("photos.csv, row 12"), or else by its reason."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._reasons: dict[str, str] = {}
        self._unsaved = True

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, source: str) -> bool:
        return source in self._reasons

    def add(self, rows: Iterable[tuple[str, str]]) -> None:
        """Take (source, reason) of each row, and report those that are new."""
        for source, reason in rows:
            if (source or reason) in self._reasons:
                continue
            self._reasons[source or reason] = reason.removeprefix(f"{source}: ")
            self._unsaved = True
            if len(self) <= SHOWN:
                self._report(f"skipped: {reason if reason.startswith(source) else f'{source}: {reason}'}")
            elif len(self) == SHOWN + 1:
                self._report("skipped: more rows, which are counted and listed but no longer reported one by one")

    def save(self, path: Path) -> None:
        """List the rows as JSON lines {"source", "reason"}; a list that has not grown is not written again."""
        if self._unsaved:
            rows = ({"source": source, "reason": reason} for source, reason in self._reasons.items())
            write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            self._unsaved = False

    def load(self, path: Path) -> None:
        """Know the rows of an earlier list, so that they are not reported again."""
        if path.exists():
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            self._reasons.update((row["source"], row["reason"]) for row in rows)
