"""What a notebook user trains: ``braid.train(table, "classification")``, and the run that it returns."""

import importlib.util
import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from braid.api import LoadedModel, load
from braid.config import json_text
from braid.datasets.table import columns_given
from braid.datasets.table.memory import kept
from braid.errors import UserError
from braid.files import user_path
from braid.reports import read_log
from braid.tables import dataframe
from braid.tasks import task_named
from braid.training import Outcome, RunConfig, plan_of, read_run, run_from, train_in_stages
from braid.training import train as train_once
from braid.training.defaults import default_run
from braid.training.kept import measured
from braid.training.lines import TrainingLines

RUNS = Path("runs")
TALLEST = 640  # pixels of a report in a notebook

log = logging.getLogger("braid")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run; a notebook shows it as a table.

    ``outcome`` says how the training ended; ``metrics`` are those of the best model on the val rows, as ``braid evaluate`` has
    them.
    """

    folder: Path
    outcome: Outcome
    metrics: Mapping[str, float]

    @cached_property
    def model(self) -> LoadedModel:
        """The best model, as ``braid.load(run.folder)`` gives it."""
        return load(self.folder)

    @property
    def report(self) -> "Page":
        """The page about the run: losses, metrics, answers to val rows. A notebook shows it."""
        return Page(self.folder / "report.html")

    @property
    def advice(self) -> tuple[str, ...]:
        """Which inputs help, what is confused, and whether more rows or time would help."""
        return self.outcome.advice

    def to_pandas(self) -> Any:
        """The log of the run as a ``pandas.DataFrame``: a row a step, and a row an epoch with the metrics on val."""
        return dataframe(read_log(self.folder / "log.jsonl"))

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.2f}" for name, value in self.metrics.items())
        return f"Run({str(self.folder)!r}{f': {scores}' if scores else ''})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{value:.2f}</td></tr>" for name, value in self.metrics.items())
        advice = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.advice)
        return f"<p><b>{escape(str(self.folder))}</b></p><table>{rows}</table>{advice}"


@dataclass(frozen=True)
class Page:
    """An HTML file that a notebook shows."""

    path: Path

    def _repr_html_(self) -> str:
        content = b64encode(self.path.read_bytes()).decode()
        return f'<iframe src="data:text/html;base64,{content}" width="100%" height="{TALLEST}" style="border:0"></iframe>'


def train(
    data: Any,
    task: str = "",
    output: str | Path = "",
    *,
    time: str = "",
    columns: Mapping[str, str] | str | None = None,
    model: str = "",
    start: str = "",
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a model on your own data, as ``braid train`` does.

    ``braid.train("photos.csv", "captioning", time="10m")``; ``braid.train(frame, "classification", epochs=5)``

    Args:
        data: a file or folder of any supported format; or rows in memory: a DataFrame of pandas or polars, a ``Dataset`` or
            ``DatasetDict`` of Hugging Face, dicts (one a row), or a dict of columns. Rows in memory are kept in the run's folder.
        task: captioning, classification, vqa, retrieval, ...
        output: the run's folder; "" takes a free one in ``runs/``.
        time: what training may take, such as "10m"; "" takes the quick stages.
        columns: roles to column names, such as ``{"label": "colour"}`` or ``"label=colour"``.
        model: a preset, trained from scratch; ``start``: a saved model to fine-tune.
        resume: go on with the run in ``output``.
        progress: print lines on stderr; the logger ``braid`` gets them in any case.
        settings: any setting of a run: ``epochs=3``, ``optimizer={"learning_rate": 1e-4}``, ``**{"task.closed": True}``.
    Raises:
        UserError: for bad settings or data, or a folder already in use.
    """
    whole = {**settings, "time": time} if time and model else settings  # a preset is one run, which keeps its time itself
    changes = [f"{name}={json_text(value)}" for name, value in _flat(whole)]
    folder = user_path(output) if output else _free(data, task)
    if resume and (plan := plan_of(folder)) is not None:
        config = read_run(plan, changes)
    else:
        task_named(task)
        if not resume and (plan_of(folder) is not None or (folder / "run.yaml").exists()):  # before its rows are replaced
            raise UserError(f"{folder} already holds a run; give resume=True to continue it, or another output")
        path = data if isinstance(data, str | Path) else kept(data, folder / "data")
        section = {"path": str(path), "columns": columns_given(columns)}
        config = run_from(default_run(task, section, model, start, changes), changes)
    outcome = _watched(config, folder, time, resume, bool(model), progress)
    return Run(folder, outcome, dict(measured(replace(config, time=time or config.time), folder).metrics))


def _watched(config: RunConfig, folder: Path, time: str, resume: bool, at_once: bool, progress: bool) -> Outcome:
    """``at_once``: in one stage, as a model is trained from scratch."""
    console = Console(stderr=True, quiet=not progress)
    live = console.is_terminal if not console.is_jupyter else importlib.util.find_spec("ipywidgets") is not None
    lines = TrainingLines(config, console, live and progress, lambda text: _say(console, text))
    with lines.progress:
        if at_once:
            return train_once(config, folder, resume, lines.watcher())
        return train_in_stages(config, folder, time, resume, lines.watcher())


def _say(console: Console, text: str) -> None:
    log.info("%s", text)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Settings by their dotted names: ``{"optimizer": {"clip": 1}}`` is ``optimizer.clip``."""
    result = []
    for name, value in settings.items():
        inner = isinstance(value, Mapping) and "kind" not in value
        result += _flat(value, f"{before}{name}.") if inner else [(f"{before}{name}", value)]
    return result


def _free(data: Any, task: str) -> Path:
    """A folder of ``runs/`` that no run has yet: photos-captioning, photos-captioning-2."""
    stem = Path(data).stem.replace(":", "-") if isinstance(data, str | Path) else ""
    name = f"{stem or 'data'}-{task}"
    number = 1
    while (folder := RUNS / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder
