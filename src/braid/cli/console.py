"""What every verb prints with: JSON and tables on stdout, progress and notes on stderr."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from braid.skipped_rows import SkippedRows

if TYPE_CHECKING:
    from braid.records import Prediction

T = TypeVar("T")

StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be read.")]
SkippedRowsOption = Annotated[Path | None, typer.Option("--skipped-rows", help="List unreadable rows in this file (jsonl).")]
MinConfidenceOption = Annotated[float, typer.Option(min=0, max=1, help="Say nothing where the model is less sure than this.")]
NOT_SURE = "(not sure)"

stdout = Console()
stderr = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Sequence[str] = ()) -> None:
    """A table on stdout; ``numeric`` columns are right-aligned."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    stdout.print(f"[bold]{escape(title)}[/bold]", highlight=False)
    stdout.print(table)


def said(prediction: "Prediction", least: float) -> str | None:
    """What a model answers; None where it abstains, because it is less sure than ``least``."""
    return prediction.text if prediction.confidence >= least else None


def note(text: str) -> None:
    """A line for the person, never part of the output: stderr."""
    stderr.print(escape(text), highlight=False, soft_wrap=True)


def finish(skipped_rows: SkippedRows, path: Path | None) -> None:
    """Say how many rows were left out, and list them where that was asked for."""
    if path is not None:
        skipped_rows.save(path)
    if len(skipped_rows):
        note(f"{len(skipped_rows)} rows were left out; {f'{path} lists them' if path else '--skipped-rows FILE lists them'}")


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` while a bar on stderr shows how far it is and the time left; silent where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield from bar.track(items, total=total, description=label)
