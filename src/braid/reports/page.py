"""The page of a run: one HTML file without scripts, which needs no network."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from braid.config import flat
from braid.files import as_written, write_whole
from braid.reports.charts import COLOURS, Line, Mark, Point, chart, smooth
from braid.reports.description import Description, count
from braid.reports.rows import ShownRow, cards, read_view
from braid.reports.run import (
    CONFIDENCE,
    Finding,
    LoggedRun,
    LoggedTask,
    diagnose,
    differences,
    incomparable_settings,
    message,
    read_run_folder,
)

TEMPLATE = Path(__file__).with_name("report.html")
FOOTER = (
    "The rows under &ldquo;Answers&rdquo; stand at even distances in the val split; nobody chose them. The confidence of a text "
    "is the mean probability of its words. Train loss includes label smoothing and dropout, val loss neither."
)
REASONS = 20  # skipped rows that are listed with their reasons
TOGETHER = 6  # maximum lines per chart


def write_report(folders: Sequence[Path], output: Path) -> list[LoggedRun]:
    """Write a page of the run in the first folder, compared with the runs in the others, and return all runs.

    Raises:
        UserError: when a folder has no run.
    """
    runs = [read_run_folder(folder) for folder in folders]
    with as_written(folders[0]):
        text = page(runs)
    write_whole(output, text)
    return runs


def page(runs: Sequence[LoggedRun]) -> str:
    run = runs[0]
    sections = [
        ("Diagnosis", "".join(map(marked, diagnose(run))), "findings"),
        ("Against other runs", comparison(runs) if len(runs) > 1 else "", ""),
        ("Curves", _curves(run), ""),
        *((task.titled("Answers"), _samples(run, task), "samples") for task in run.tasks),
        ("Stages", _stages(run), ""),
        ("Epochs", _epochs(run), ""),
        ("Model", _model(run.description), ""),
        ("Settings", _settings(run), ""),
    ]
    return whole_page(run.name, _lead(run), _facts(run), sections, FOOTER)


def whole_page(title: str, lead: str, facts: Mapping[str, str], sections: Iterable[tuple[str, str, str]], footer: str) -> str:
    """A page of sections (title, HTML, class); empty sections and facts are left out. ``lead`` and ``footer`` are HTML."""
    body = [
        f'<section><h2>{escape(name)}</h2><div class="{kind}">{inside}</div></section>'
        if kind
        else f"<section><h2>{escape(name)}</h2>{inside}</section>"
        for name, inside, kind in sections
        if inside
    ]
    fact_list = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title), lead=lead, facts=fact_list, sections="\n".join(body), footer=footer
    )


def duration(seconds: float | None) -> str:
    """A duration in words; "" if unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def metric(name: str, value: Any) -> str:
    """Format a metric of a record: losses with three decimals, other metrics with one."""
    if not isinstance(value, int | float):
        return ""
    return f"{value:.3f}" if name.endswith("val_loss") else f"{value:,.1f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[str] = (), strong: int = -1) -> str:
    """A table whose cells are HTML; ``numeric`` columns are right-aligned, and row ``strong`` is highlighted."""
    kinds = [' class="number"' if column in numeric else "" for column in columns]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for column, kind in zip(columns, kinds, strict=True))
    body = "".join(
        f'<tr class="strong">{cells}</tr>' if k == strong else f"<tr>{cells}</tr>"
        for k, cells in enumerate(
            "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) for row in rows
        )
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _lead(run: LoggedRun) -> str:
    if run.best is None:
        return f"<p>{escape(run.state)}; metrics appear after the first epoch</p>"
    value = metric(run.metric, run.best[run.metric])
    where = f"{escape(run.metric)} on val, best at epoch {run.best['epoch'] + 1}"
    return f'<p><strong class="figure">{value}</strong> {where}; {escape(run.state)}</p>'


def _facts(run: LoggedRun) -> dict[str, str]:
    model, data = run.settings["model"], run.settings["data"]
    encoders = " + ".join(part.get("kind", "") for part in model.get("encoders", {}).values())
    decoders = " + ".join(part.get("kind", "") for part in (model.get("decoders") or model.get("codecs", {})).values())
    parameters = f"{count(run.description.parameters)} parameters" if run.description else ""
    return {
        "task": run.task,
        "data": str(data.get("path", "")),
        "model": f"{encoders} → {model.get('fusion', {}).get('kind', '')} → {decoders}",
        "size": parameters,
        "seed": str(run.settings.get("seed", "")),
        "time": duration(run.seconds),
    }


def _stages(run: LoggedRun) -> str:
    """The stages of a run in stages; the model is that of the highlighted one."""
    stages = run.progress.stages
    rows = [(escape(one.name), escape(one.why), metric(run.metric, one.metric), escape(duration(one.seconds))) for one in stages]
    best = next((place for place, one in enumerate(stages) if one.name == run.progress.best), -1)
    return table(("stage", "what it is", run.metric, "time"), rows, (run.metric, "time"), best) if rows else ""


def marked(finding: Finding) -> str:
    """A finding with its mark; the title of a bad one ends with a question mark."""
    mark, kind = {True: ("✓", "good"), False: ("!", "bad"), None: ("·", "open")}[finding.good]
    title = escape(finding.title) + ("?" if finding.good is False else "")
    more = "".join(f"<li>{escape(reason)}</li>" for reason in finding.details[:REASONS])
    if len(finding.details) > REASONS:
        more += f"<li>and {len(finding.details) - REASONS} more, in log.jsonl</li>"
    details = f"<details><summary>which, and why</summary><ul>{more}</ul></details>" if more else ""
    return (
        f'<div class="{kind}"><span aria-hidden="true">{mark}</span>'
        f"<div><h3>{title}</h3><p>{escape(finding.text)}</p>{details}</div></div>"
    )


def _curves(run: LoggedRun) -> str:
    across = "epoch" if run.epochs else "step"
    blue, *_ = COLOURS
    result = []
    if len(run.tasks) > 1:
        result.append(
            (run.metric, chart([Line(run.metric, of_epochs(run, run.metric), blue, dots=True)], across, mark=best_mark(run)))
        )
    for task in run.tasks:
        result += _curves_of(run, task, across)
    result.append(("Learning rate", chart([Line("rate", of_steps(run, "learning_rate"), blue)], across, from_zero=True)))
    for title, name in (("Gradient norm", "gradient_norm"), ("Samples a second", "samples_per_second"), *_more_of_steps(run)):
        points = of_steps(run, name)
        result.append((title, chart([Line("raw", points, blue, faint=True), Line(title, smooth(points), blue)], across, True)))
    return charts(result)


def _curves_of(run: LoggedRun, task: LoggedTask, across: str) -> list[tuple[str, str]]:
    """The charts of a task: its losses; its main metric, with variants; and its other metrics."""
    blue, red, *_ = COLOURS
    loss, val = of_steps(run, task.loss), of_epochs(run, f"{task.start}val_loss")
    lines = [Line("raw", loss, blue, faint=True), Line("train", smooth(loss), blue), Line("val", val, red, dots=True)]
    result = [(task.titled("Loss"), chart(lines, across))]
    names = [name.removeprefix(task.start) for name in run.figures_of(task)]
    family = task.metric.partition("-")[0]
    main = [name for name in names if name.partition("-")[0] == family]
    sure = [name for name in names if name in CONFIDENCE]
    others = [name for name in names if name not in (*main, *sure)]
    together = [("Other metrics", others[first : first + TOGETHER]) for first in range(0, len(others), TOGETHER)]
    for title, some in ((task.metric, main), *together, ("Confidence errors", sure)):
        points = [of_epochs(run, task.start + name) for name in some]
        lines = [Line(*line, dots=True) for line in zip(some, points, COLOURS, strict=False)]
        mark = best_mark(run) if some is main and task.alone else None
        result.append((task.titled(title), chart(lines, across, mark=mark)))
    return result


def _more_of_steps(run: LoggedRun) -> list[tuple[str, str]]:
    """The metrics, other than the loss, that an objective reports for a step."""
    known = {"step", "epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second", "seconds", "seconds_left"}
    known |= {task.loss for task in run.tasks}
    names = dict.fromkeys(name for record in run.steps for name, value in record.items() if isinstance(value, int | float))
    return [(name, name) for name in names if name not in known]


def charts(result: Iterable[tuple[str, str]]) -> str:
    generated = [f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in result if svg]
    return f'<div class="charts">{"".join(generated)}</div>' if generated else ""


def of_steps(run: LoggedRun, name: str) -> list[Point]:
    return _finite((run.place(record["step"]), record.get(name)) for record in run.steps)


def of_epochs(run: LoggedRun, name: str) -> list[Point]:
    return _finite((float(record["epoch"] + 1), record.get(name)) for record in run.epochs)


def _finite(points: Iterable[tuple[float, Any]]) -> list[Point]:
    return [(x, float(y)) for x, y in points if isinstance(y, int | float) and math.isfinite(y)]


def best_mark(run: LoggedRun) -> Mark | None:
    if run.best is None:
        return None
    value = float(run.best[run.metric])
    return Mark((run.best["epoch"] + 1.0, value), f"best {metric(run.metric, value)}") if math.isfinite(value) else None


def _samples(run: LoggedRun, task: LoggedTask) -> str:
    """The best epoch's answers to some val rows of a task; a collapsed section has the answers of all epochs."""
    samples = run.samples.get(task.start, {})
    if run.best is None or run.best["epoch"] not in samples:
        return ""
    rows = []
    for k, sample in enumerate(samples[run.best["epoch"]]):
        earlier = [(epoch, shown[k]["text"]) for epoch, shown in sorted(samples.items()) if k < len(shown)]
        rows.append(
            ShownRow(
                {name: read_view(run.folder, kept) for name, kept in sample["inputs"].items()},
                sample["text"],
                sample["confidence"] or 0.0,  # null where it was NaN
                tuple(sample["references"]),
                tuple(read_view(run.folder, sample[name]) for name in ("target", "generated") if name in sample),
                tuple((epoch, text) for epoch, text in earlier if text),
            )
        )
    return cards([row for row in rows if row.answer is not None or row.media])


def _epochs(run: LoggedRun) -> str:
    if not run.epochs:
        return ""
    names = ["val_loss", *run.metrics]
    rows = [[str(record["epoch"] + 1), *(metric(name, record.get(name)) for name in names)] for record in run.epochs]
    best = run.epochs.index(run.best) if run.best else -1
    return table(["epoch", *names], rows, ["epoch", *names], strong=best)


def _model(description: Description | None) -> str:
    if description is None:
        return ""
    rows = [[escape(cell) for cell in (part.name, part.kind, part.message, f"{part.parameters:,}")] for part in description.parts]
    rows.append(["all", "", "", f"{description.parameters:,}"])
    return table(["part", "kind", "settings", "parameters"], rows, ["parameters"], strong=len(rows) - 1)


def _settings(run: LoggedRun) -> str:
    """All settings, except empty sections and the model, which has its own table."""
    settings = flat({key: value for key, value in run.settings.items() if key not in ("model", "card")})
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(message(value))}</dd></div>" for name, value in settings.items())
    return f'<details><summary>all {len(settings)} settings of run.yaml</summary><dl class="settings">{rows}</dl></details>'


def comparison(runs: Sequence[LoggedRun]) -> str:
    """A table with one column per run (differing settings, metrics of the best epoch, size, time), and charts."""
    differing = differences(runs)
    generated = charts([(title, _overlaid(runs, title)) for title in (runs[0].metric, "val_loss")])
    result = f'<div class="compared">{_runs_table(runs, differing)}{generated}</div>'
    odd = incomparable_settings(runs)
    if odd:
        result += f'<p class="caution">These runs differ in {escape(", ".join(odd))}: their metrics cannot be compared.</p>'
    elif not differing:
        result += '<p class="caution">These runs have the same settings.</p>'
    return result


def _runs_table(runs: Sequence[LoggedRun], differing: Mapping[str, Sequence[str]]) -> str:
    dots = [f'<span class="swatch" style="background:{COLOURS[k % len(COLOURS)]}"></span>' for k in range(len(runs))]
    head = "".join(f"<th>{dot}{escape(run.name)}</th>" for dot, run in zip(dots, runs, strict=True))
    rows = [(escape(name).replace(".", ".<wbr>"), [escape(value) for value in values]) for name, values in differing.items()]
    names = dict.fromkeys([runs[0].metric, "val_loss", *(name for run in runs for name in run.metrics)])
    rows += [(escape(name), _figures_of(runs, name)) for name in names]
    rows.append(("best epoch", [str(run.best["epoch"] + 1) if run.best else "" for run in runs]))
    rows.append(("parameters", [count(run.description.parameters) if run.description else "" for run in runs]))
    rows.append(("time", [duration(run.seconds) for run in runs]))
    lines = [f"<th>{name}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) for name, cells in rows]
    set_, measured = lines[: len(differing)], lines[len(differing) :]  # with a thick line between them
    body = "".join(f"<tbody>{''.join(f'<tr>{line}</tr>' for line in part)}</tbody>" for part in (set_, measured) if part)
    return f'<div class="wide"><table class="runs"><thead><tr><th></th>{head}</tr></thead>{body}</table></div>'


def _figures_of(runs: Sequence[LoggedRun], name: str) -> list[str]:
    """One metric of each run's best epoch, the best in bold."""
    values = [(run.best or {}).get(name) for run in runs]
    known = [value for value in values if isinstance(value, int | float)]
    best = (max if runs[0].higher(name) else min)(known, default=None)
    cells = [metric(name, value) for value in values]
    return [f"<b>{cell}</b>" if value is not None and value == best else cell for cell, value in zip(cells, values, strict=True)]


def _overlaid(runs: Sequence[LoggedRun], name: str) -> str:
    lines = [Line(_short(run.name), of_epochs(run, name), COLOURS[k % len(COLOURS)], dots=True) for k, run in enumerate(runs)]
    return chart(lines, "epoch")


def _short(name: str, longest: int = 16) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
