"""What every verb prints with: JSON and tables on stdout, progress and notes on stderr."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from braid.config import json_text
from braid.environment import drop_odd_widths
from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.evaluation import Answers
    from braid.records import Prediction

T = TypeVar("T")

NOT_SURE = "(not sure)"
FIRST_LINE, NEXT_LINE = 5.0, 10.0  # seconds until the first and until every other line of progress without a terminal

drop_odd_widths()  # before a console reads them
stdout = Console()
stderr = Console(stderr=True)
verbose = False  # whether an error says where it comes from

# Characters that move the cursor, colour the terminal or turn the order of a line around, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """A text for a terminal: what is no sign, as file names and models may hold it, is an escape, as in JSON."""
    return _UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", str(text))


def print_text(*lines: object) -> None:
    """Plain lines on stdout."""
    for line in lines:
        print(printable(line), flush=True)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout, in ASCII if the terminal has no Unicode."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print(printable(json_text(value, ensure_ascii=not unicode)), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[str] = ()) -> None:
    """A table on stdout; ``numeric`` columns are right-aligned."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout.print(Text(printable(title), "bold"))
    stdout.print(table)


def print_rows(
    json: bool,
    records: Iterable[Mapping[str, Any]],
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    numeric: Sequence[str] = (),
) -> None:
    """A result of many rows: one JSON object a line, or a table."""
    if json:
        for record in records:
            print_json(record)
    elif rows:
        print_table(title, columns, rows, numeric)


def answer_of(prediction: "Prediction", least: float) -> str | None:
    """What a model answers; None if it abstains, because it is less sure than ``least``."""
    return prediction.text if prediction.confidence >= least else None


def labels_beside(caption: "Prediction") -> dict[str, Any]:
    """The hint beside an unsure caption, for JSON."""
    return {} if caption.labels is None else {"labels": caption.labels}


def perhaps(caption: "Prediction") -> str:
    """The hint beside an unsure caption, for a table."""
    return "" if caption.labels is None else f" (perhaps: {', '.join(caption.labels)})"


def be_quiet(ctx: object, param: object, wanted: bool) -> None:
    """What ``--quiet`` does."""
    stderr.quiet = wanted


def be_verbose(ctx: object, param: object, wanted: bool) -> None:
    """What ``--verbose`` does."""
    global verbose
    verbose = wanted


def note(text: str) -> None:
    """A line for the person, never part of the output: stderr."""
    stderr.print(Text(printable(text)), soft_wrap=True)


def rows_were(number: int) -> str:
    return "1 row was" if number == 1 else f"{number} rows were"


def finish(skipped_rows: SkippedRows, path: Path | None) -> None:
    """Say how many rows were skipped, and list them in ``path``."""
    if path is not None:
        skipped_rows.save(path)
    if len(skipped_rows):
        note(f"{rows_were(len(skipped_rows))} skipped; {f'{path} lists them' if path else '--skipped-rows FILE lists them'}")


def report_each(rows: Iterable[tuple[str, str]]) -> SkippedRows:
    """Report rows that could not be read, each a source and a reason, once."""
    skipped = SkippedRows(note)
    skipped.add(rows)
    return skipped


def report_skipped(path: Path | None, rows: Iterable[tuple[str, str]], exits: bool = True) -> None:
    """Report rows that could not be read, each a source and a reason; with ``exits``, any of them ends the command with 1."""
    skipped = report_each(rows)
    finish(skipped, path)
    if exits and len(skipped):
        raise typer.Exit(1)


def skipped_of(answers: "Answers") -> list[tuple[str, str]]:
    """The rows that could not be read: source and reason."""
    return [(sample.source, reason) for sample, reason in answers.skipped]


def with_progress(label: str) -> Callable[[Iterable[T], int], Iterator[T]]:
    """``progress`` under a label, as loops over batches take it."""
    return lambda items, total: progress(items, label, total)


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` while a bar on stderr shows how far it is and the time left; lines, now and then, without a terminal."""
    if not stderr.is_terminal:
        yield from _lines(items, label, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        yield from bar.track(items, total=total, description=label)


def _lines(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    start = time.monotonic()
    due = start + FIRST_LINE
    for number, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now >= due:
            left = f" of {total:,}, about {(now - start) / (number + 1) * (total - number - 1):.0f} s left" if total else ""
            note(f"{label}: {number + 1:,}{left}")
            due = now + NEXT_LINE
