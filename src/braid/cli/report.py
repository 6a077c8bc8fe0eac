"""braid report: a run on one page, beside others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table
from braid.cli.options import JsonOption

if TYPE_CHECKING:
    from braid.reports import LoggedRun


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, finished, running or killed.", show_default=False)],
    others: Annotated[list[Path] | None, typer.Argument(help="Runs to compare it with.", show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The page. Default: RUN/report.html")] = None,
    json: JsonOption = False,
) -> None:
    """Write a page that shows a run: curves, sample predictions, diagnosis, and how other runs differ.

    Training writes it after every epoch; it needs no network, no script and no data set.

    Examples:

        braid report runs/mine

        braid report runs/mine runs/slower -o compared.html
    """
    from braid.reports import write_report

    page = output or run / "report.html"
    runs = write_report([run, *(others or [])], page)
    if json:
        print_json(_as_json(page, runs))
        return
    _print(runs)
    note(f"\nthe page: {page.resolve()}")


def _as_json(page: Path, runs: list["LoggedRun"]) -> dict[str, Any]:
    from braid.reports import diagnose, differences

    differing = differences(runs)
    findings = [{"title": one.title, "text": one.text, "good": one.good} for one in diagnose(runs[0])]
    return {"page": str(page), "diagnosis": findings, "runs": [_run(k, run, differing) for k, run in enumerate(runs)]}


def _run(number: int, run: "LoggedRun", differing: dict[str, list[str]]) -> dict[str, Any]:
    best = run.best or {}
    return {
        "folder": str(run.folder),
        "task": run.task,
        "state": run.state,
        "metric": run.metric,
        "best_epoch": best.get("epoch"),
        "figures": {name: best.get(name) for name in ("val_loss", *run.metrics)} if best else {},
        "parameters": run.description.parameters if run.description else None,
        "seconds": run.seconds,
        "differs": {name: values[number] for name, values in differing.items()},
    }


def _print(runs: list["LoggedRun"]) -> None:
    """One column a run, as on the page, of the metric that decides."""
    from braid.reports import count, diagnose, differences, duration

    metric = runs[0].metric
    rows = [[name, *values] for name, values in differences(runs).items()]
    rows.append([metric, *(f"{run.best[metric]:.2f}" if run.best and metric in run.best else "" for run in runs)])
    rows.append(["best epoch", *(str(run.best["epoch"] + 1) if run.best else "" for run in runs)])
    rows.append(["parameters", *(count(run.description.parameters) if run.description else "" for run in runs)])
    rows.append(["time", *(duration(run.seconds) for run in runs)])
    rows.append(["state", *(run.state for run in runs)])
    print_table("Runs" if len(runs) > 1 else "Run", ["", *(run.name for run in runs)], rows)
    marks = {True: "ok", False: "look", None: ""}
    print_table("\nDiagnosis", ["", "", ""], [[marks[one.good], one.title, one.text] for one in diagnose(runs[0])])
