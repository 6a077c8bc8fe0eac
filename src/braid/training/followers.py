"""Followers of a run's log: the page report.html and the sinks. An error in one of them never stops the run."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from braid.config import kinds
from braid.errors import install_command
from braid.files import write_whole
from braid.reports import read_settings, write_report
from braid.sinks import Sink, SinkConfig, metrics

FILE = "sinks.json"
SECONDS = 2.0  # between two reads of the log


@dataclass
class Mark:
    """The last step and epoch of the log that a sink has received, and the service's id of the run."""

    run: str = ""
    step: int = 0
    epoch: int = -1


def write_page(folder: Path, note: Callable[[str], None]) -> None:
    """Write report.html of a run; whatever goes wrong is a note, because the run matters more."""
    try:
        write_report([folder], folder / "report.html")
    except Exception as error:
        note(f"report.html was not written ({_message(error)}); braid report {folder} tries again")


class Followers:
    """Sends new records of log.jsonl to every sink, and writes the page at the end of each epoch.

    The mark is saved before records are sent: if the run is killed in between, the sink misses those records, but a resumed run
    never sends them twice. The log itself is always complete.
    """

    def __init__(self, folder: Path, configs: Sequence[SinkConfig], note: Callable[[str], None]) -> None:
        self._folder, self._configs, self._note = folder, configs, note
        self._sinks: dict[str, Sink] = {}
        self._marks: dict[str, Mark] = {}
        self._read = 0  # bytes of the log read so far
        self._last_read = 0.0

    def __enter__(self) -> "Followers":
        for config in self._configs:
            self._guarded(config.kind, partial(self._open, config))
        self.follow(now=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.follow(now=True)
        for name, sink in list(self._sinks.items()):
            self._guarded(name, sink.close)

    def follow(self, now: bool = False) -> None:
        """Send new records to the sinks, at most every few seconds unless ``now`` is set."""
        if not self._sinks or (not now and time.monotonic() - self._last_read < SECONDS):
            return
        self._last_read = time.monotonic()
        try:
            records = self._new_records()
        except (OSError, ValueError) as error:
            self._sinks.clear()
            self._note(f"every sink is disabled: log.jsonl cannot be read ({_message(error)})")
            return
        for name, sink in list(self._sinks.items()):
            self._guarded(name, partial(self._send, name, sink, records))

    def end_epoch(self) -> None:
        self.follow(now=True)
        write_page(self._folder, self._note)

    def _open(self, config: SinkConfig) -> None:
        self._marks = self._marks or self._read_marks()
        mark = self._marks.setdefault(config.kind, Mark())
        sink = config.build(self._folder, read_settings(self._folder), mark.run)
        mark.run = sink.run
        if sink.empty:
            mark.step, mark.epoch = Mark.step, Mark.epoch
        self._write_marks()
        self._sinks[config.kind] = sink

    def _send(self, name: str, sink: Sink, records: list[dict[str, Any]]) -> None:
        mark = self._marks[name]
        new = [r for r in records if (r["epoch"] > mark.epoch if "val_loss" in r else r["step"] > mark.step)]
        if not new:
            return
        mark.step = max([mark.step, *(record["step"] for record in new)])
        mark.epoch = max([mark.epoch, *(record["epoch"] for record in new if "val_loss" in record)])
        self._write_marks()
        for record in new:
            sink.write(record["step"], metrics(record))
        sink.flush()

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        """Run ``action``; a sink that fails is reported once, then disabled for the rest of the run."""
        try:
            action()
        except (Exception, SystemExit) as error:  # a service's client may even call sys.exit
            self._sinks.pop(name, None)
            if isinstance(error, ModuleNotFoundError):
                package = kinds(SinkConfig)[name].package
                why = f"{package} is not installed; run: {install_command(name)}"
            else:
                why = _message(error)
            self._note(f"sink {name} is disabled: {why}; log.jsonl has everything")

    def _new_records(self) -> list[dict[str, Any]]:
        with open(self._folder / "log.jsonl", "rb") as log:
            log.seek(self._read)
            lines = log.read().splitlines(keepends=True)
        complete = [line for line in lines if line.endswith(b"\n")]
        self._read += sum(map(len, complete))
        return [json.loads(line) for line in complete]

    def _read_marks(self) -> dict[str, Mark]:
        path = self._folder / FILE
        return {name: Mark(**mark) for name, mark in json.loads(path.read_text()).items()} if path.is_file() else {}

    def _write_marks(self) -> None:
        write_whole(self._folder / FILE, json.dumps({name: asdict(mark) for name, mark in self._marks.items()}))


def _message(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
