"""braid calibrate: make a captioner's confidence the chance that its caption is good."""

from dataclasses import asdict, replace
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table, progress
from braid.datasets.table import parse_columns
from braid.errors import UserError


def calibrate(
    model: Annotated[str, typer.Argument(help="A model's folder or a run's folder; its interface.json is rewritten.")],
    data: Annotated[str, typer.Option(help="A file or folder of any supported format, with captions.")],
    split: Annotated[str, typer.Option(help="The split to fit and measure on; never the one that was trained on.")] = "val",
    tokenizer: Annotated[str, typer.Option(help="Of the metrics: ptb, characters or none.")] = "ptb",
    columns: Annotated[str, typer.Option(help="Roles to column names: image=photo,captions=text")] = "",
    batch_size: Annotated[int, typer.Option(min=1, help="Rows answered at once.")] = 32,
    seed: Annotated[int, typer.Option(help="Which rows are in which half.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Fit confidence on one half of a split and measure it on the other, both ways; then write a fit on all of it into the model.

    From then on the confidence of a caption is the chance that its own CIDEr is above the median. ECE is the mean gap between
    confidence and truth, in ten bins.

    Examples:

        braid calibrate runs/photos --data photos.csv --split val
    """
    from braid.api import load
    from braid.bundle import write_task
    from braid.datasets import open_dataset
    from braid.evaluation import calibrate as fit
    from braid.evaluation import predict, prepared
    from braid.tasks import Captioning

    loaded = load(model)
    task = loaded.task("captioning")
    assert isinstance(task, Captioning)
    raw = replace(task, calibration=None)
    samples = [sample for sample in prepared(raw, open_dataset(data, parse_columns(columns)).split(split)) if sample.references]
    if not samples:
        raise UserError(f"{data}: no row of split {split!r} has captions to score against; map their column with --columns")
    answers = predict(
        loaded.runtime, loaded.collator, raw, samples, batch_size, False, lambda parts, n: progress(parts, "describing", n)
    )
    report = fit(answers, tokenizer, seed)
    write_task(loaded.bundle, replace(task, calibration=report.calibration))
    if json:
        figures = {"ece-before": 100 * report.error_before, "ece": 100 * report.error, "num_samples": report.num_samples}
        measured = {"ece-halves": [100 * error for error in report.errors], "bins": [asdict(one) for one in report.bins]}
        print_json({**figures, **asdict(report.calibration), **measured})
        return
    rows = [[f"{b.low:.1f} to {b.high:.1f}", b.count, f"{b.confidence:.2f}", f"{b.accuracy:.2f}"] for b in report.bins]
    title = f"Confidence on {report.num_samples} rows of {split}, each by a fit on the half that it is not in"
    print_table(title, ["confidence", "rows", "mean", "good"], rows, ["rows", "mean", "good"])
    good = f"good: CIDEr above {report.calibration.threshold:.1f}"
    halves = " and ".join(f"{100 * error:.1f}" for error in report.errors)
    note(f"\nECE {100 * report.error:.1f} ({halves} of the halves; {100 * report.error_before:.1f} before); {good}")
