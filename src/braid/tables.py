"""What a notebook user does with whole tables: ``braid.predict(table, model)`` and ``braid.evaluate(table, model)``."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from braid import evaluation
from braid.api import LoadedModel, load
from braid.collate import Watch
from braid.datasets import SkippedRow, open_dataset, read_rows
from braid.datasets.table import Table, columns_given, with_model_columns
from braid.datasets.table.memory import has_splits, kept
from braid.errors import UserError
from braid.evaluation import Answers
from braid.records import Example, Prediction


@dataclass(frozen=True)
class Predicted:
    """The predictions of a table's rows, by row number from 0, and the reasons of the rows that have none."""

    table: Table
    answers: Answers
    predictions: Mapping[int, Prediction]
    reasons: Mapping[int, str]
    sources: tuple[str, ...]  # of all rows: "photos.csv, row 3"

    @property
    def num_rows(self) -> int:
        return len(self.sources)

    @property
    def broken(self) -> Iterator[tuple[str, str]]:
        """The rows without a prediction, each with its reason."""
        return ((self.sources[number], reason) for number, reason in self.reasons.items())


def predict(
    data: Any,
    model: str | Path | LoadedModel = "small",
    task: str = "",
    columns: Mapping[str, str] | str | None = None,
    *,
    beam: int | None = None,
    language: str = "",
    batch_size: int = 32,
    strict: bool = False,
) -> Any:
    """A ``pandas.DataFrame`` of the rows with ``prediction`` and ``confidence``, as ``braid predict`` writes them.

    A row that cannot be read has its reason in the column ``error``.

    Args:
        data: a table's file, a folder, or rows in memory as for ``braid.train``.
        model: a built-in name, a folder, or a loaded model; ``task`` says which of its tasks, if it does several.
        columns: roles to column names, such as ``{"image": "photo"}``.
        beam: of the search; ``language``: of the captions.
        strict: raise for the first row that cannot be read.
    Raises:
        UserError: for bad data, or a model that does several tasks of which none is named.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    if has_splits(data):
        raise UserError("data has a table for each split; give predict one of them")
    data = list(data) if isinstance(data, Iterator) else data
    with TemporaryDirectory() as folder:
        path = kept(data, Path(folder))
        result = predicted(loaded, only_task(loaded, task), path, columns, beam, language, batch_size, strict)
        frame = frame_of(result.table if isinstance(data, str | Path) else data)
    numbers = range(len(frame))
    found = [result.predictions.get(number) for number in numbers]
    added: dict[str, list[Any]] = {
        "prediction": [None if one is None else one.value if one.value is not None else one.text for one in found],
        "confidence": [None if one is None else one.confidence for one in found],
    }
    if result.reasons:
        added["error"] = [result.reasons.get(number, "") for number in numbers]
    return frame.assign(**added)


def evaluate(
    data: Any,
    model: str | Path | LoadedModel = "small",
    task: str = "",
    columns: Mapping[str, str] | str | None = None,
    *,
    split: str = "",
    beam: int | None = None,
    language: str = "",
    batch_size: int = 32,
    strict: bool = False,
) -> dict[str, float]:
    """The official metrics (x100) of a model on the rows of a split, as ``braid evaluate`` prints them.

    Args:
        split: "" takes ``val`` if rows name their split, and otherwise all rows.
    Raises:
        UserError: like ``predict``, and when no row can be scored.
    """
    loaded = model if isinstance(model, LoadedModel) else load(model)
    chosen = loaded.task(only_task(loaded, task), beam, language)
    with TemporaryDirectory() as folder:
        path = kept(data, Path(folder))
        dataset = open_dataset(str(path), _columns(loaded, columns, path))
        if strict and dataset.skipped:
            raise UserError(f"{dataset.skipped[0].source}: {dataset.skipped[0].reason}")
        rows = dataset.split(split or ("all" if dataset.guess else "val"))
        metrics, _ = evaluation.evaluate(loaded.runtime, loaded.collator, chosen, rows, "auto", batch_size, strict)
    return metrics


def predict_frame(frame: Any, loaded: LoadedModel, task: str, columns: Mapping[str, str]) -> list[Prediction]:
    """The prediction of every row of a DataFrame; the first row that cannot be read is an error."""
    with TemporaryDirectory() as folder:
        result = predicted(loaded, task, kept(frame, Path(folder)), columns, strict=True)
    return [result.predictions[number] for number in range(len(frame))]


def predicted(
    loaded: LoadedModel,
    task: str,
    path: str | Path,
    columns: Mapping[str, str] | str | None = None,
    beam: int | None = None,
    language: str = "",
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Predicted:
    """Do a task on every row of a table.

    Raises:
        UserError: with ``strict``, for the first row that cannot be read.
    """
    chosen = loaded.task(task, beam, language)
    table, rows = read_rows(path, _columns(loaded, columns, path), chosen.target_fields, on_note)
    reasons = {number: f"{row.source}: {row.reason}" for number, row in enumerate(rows) if isinstance(row, SkippedRow)}
    if strict and reasons:
        raise UserError(reasons[min(reasons)])
    examples = [(number, row) for number, row in enumerate(rows) if isinstance(row, Example)]
    numbered = [Example(str(number), row.fields, row.split, row.source) for number, row in examples]
    answers = loaded.predict(task, numbered, beam, batch_size, strict, watch, language)
    reasons |= {int(sample.id): reason for sample, reason in answers.skipped}
    predictions = {int(one.id): one for one in answers.predictions}
    return Predicted(table, answers, predictions, dict(sorted(reasons.items())), tuple(row.source for row in rows))


def only_task(loaded: LoadedModel, task: str, usual: str = "") -> str:
    """The task that is named, or the model's only one; of several, the ``usual`` one.

    Raises:
        UserError: when the model does several, and none is named.
    """
    kinds = sorted(loaded.bundle.interface.tasks)
    if not task and usual in kinds:
        return usual
    if not task and len(kinds) > 1:
        raise UserError(f"this model does {', '.join(kinds)}; choose one with --task (in Python, task=...)")
    return task or kinds[0]


def dataframe(rows: Iterable[Any]) -> Any:
    """Dicts, or a dict of columns, as a ``pandas.DataFrame``.

    Raises:
        UserError: when pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("tables in Python need pandas; install it with: pip install pandas") from None
    return pandas.DataFrame(rows if isinstance(rows, Mapping) else list(rows))


def frame_of(data: Any) -> Any:
    """Rows in memory as a new ``pandas.DataFrame``; one of pandas keeps its index."""
    if isinstance(data, Table):
        return dataframe(row if isinstance(row, dict) else {} for row in data.rows)
    if hasattr(data, "to_pandas"):  # of polars, or of Hugging Face
        return data.to_pandas()
    return data.copy() if hasattr(data, "itertuples") else dataframe(data)


def _columns(loaded: LoadedModel, columns: Mapping[str, str] | str | None, path: str | Path) -> dict[str, str]:
    """The columns that are named, and those that the model itself names, such as those of a tabular input."""
    return with_model_columns(path=Path(path), columns=columns_given(columns), inputs=loaded.bundle.interface.inputs)
