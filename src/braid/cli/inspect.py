"""braid inspect, report: the architecture of a saved model, and a run on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from braid.cli.console import note, print_json, print_table, print_text
from braid.cli.options import JsonOption, ModelOption
from braid.cli.places import ModelWords, model_of

if TYPE_CHECKING:
    from braid.reports import Description
if TYPE_CHECKING:
    from braid.reports import LoggedRun


def inspect(
    words: ModelWords = None,
    model: ModelOption = "",
    reconstruct: Annotated[
        list[Path] | None, typer.Option(help="Show an image as the model's codec reconstructs it. Repeatable.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the reconstructions.")] = Path(
        "reconstructed.png"
    ),
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart, which GitHub renders.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a model: parts, shapes, parameters, size, and its data card. A run that is still training is shown by its checkpoint.

    Examples:

        braid inspect small

        braid inspect small --mermaid

        braid inspect runs/vqa --json

        braid inspect runs/tokens --reconstruct photo.jpg --reconstruct dog.jpg -o beside.png
    """
    model = model_of("inspect", words, model, "small")
    if reconstruct:
        _beside(model, reconstruct, output)
        print_json({"path": str(output)}) if json else print_text(f"{output}: originals above, reconstructions below")
        return
    from braid.reports import describe, flowchart

    result = describe(model)
    if mermaid:
        print_json({"mermaid": flowchart(result)}) if json else print_text(flowchart(result))
        return
    if json:
        print_json(_as_json(result))
        return
    from braid.reports import count

    rows = [[part.name, part.kind, part.message, count(part.parameters)] for part in result.parts]
    title = f"{result.card.name or result.folder.name}: {count(result.parameters)} parameters, {result.bytes / 1e6:.1f} MB"
    print_table(title, ["part", "kind", "settings", "parameters"], rows, ["parameters"])
    print_table("\nIn and out", ["name", "modality", "shape"], _shapes(result))
    print_table("\nData card", ["", ""], _card(result))


def _beside(model: str, images: list[Path], output: Path) -> None:
    """Write one image: the originals as the codec gets them in the first row, reconstructions below."""
    from PIL import Image

    from braid.api import load
    from braid.files import ready, whole

    ready(output)
    pairs = load(model).reconstruct(images)
    size = pairs[0][0].width
    sheet = Image.new("RGB", (size * len(pairs), 2 * size))
    for column, (above, below) in enumerate(pairs):
        sheet.paste(above, (column * size, 0))
        sheet.paste(below, (column * size, size))
    with whole(output) as fresh:
        sheet.save(fresh, format="PNG")


def _shapes(result: "Description") -> list[list[str]]:
    """A summary of each input and output by its modality; for a text, with the vocabulary size."""
    from braid.config import from_dict
    from braid.modalities import InputModalityConfig, OutputModalityConfig

    rows = []
    sides = (("in", result.inputs, InputModalityConfig), ("out", result.outputs, OutputModalityConfig))
    for side, modalities, union in sides:
        for name, modality in modalities.items():
            config: Any = from_dict(union, modality, name)
            vocabulary = result.vocab_sizes.get(modality.get("tokenizer", ""))
            summary = config.summary() + (f", vocabulary {vocabulary}" if vocabulary else "")
            rows.append([f"{side}: {name}", config.kind, summary])
    return rows


def _card(result: "Description") -> list[list[str]]:
    card = result.card
    rows = [["tasks", ", ".join(result.tasks)]]
    rows += [["languages", ", ".join(result.tasks.get("captioning", {}).get("languages", ()))]]
    rows += [["trained on", "; ".join(" + ".join(subset) or "no input" for subset in result.trained_on)]]
    rows += [["about", card.description], ["terms", card.terms]]
    rows += [["made from", f"{source.name} ({source.use}): {source.terms}"] for source in card.sources]
    rows += [["scores", ", ".join(f"{name} {value:g}" for name, value in card.scores.items())], ["scored on", card.scored_on]]
    return [row for row in rows if row[1]]


def _as_json(result: "Description") -> dict[str, Any]:
    from braid.config import to_dict

    parts = [{"part": p.name, "kind": p.kind, "settings": p.message, "parameters": p.parameters} for p in result.parts]
    interface = {key: to_dict(getattr(result, key)) for key in ("inputs", "outputs", "tasks", "trained_on", "card")}
    return {
        "folder": str(result.folder),
        "parameters": result.parameters,
        "bytes": result.bytes,
        "parts": parts,
        "interface": interface,
    }


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
        print_json(_runs_as_json(page, runs))
        return
    _print(runs)
    note(f"\nthe page: {page.resolve()}")


def _runs_as_json(page: Path, runs: list["LoggedRun"]) -> dict[str, Any]:
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
    """Print a table with one column per run, as on the page, with the main metric."""
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
