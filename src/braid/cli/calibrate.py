"""braid calibrate: make a model's confidence the probability that it is right."""

from dataclasses import asdict
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table, watched
from braid.cli.given import open_rows
from braid.cli.options import BatchOption, ColumnsOption, DataOption, JsonOption, SeedOption, TokenizerOption
from braid.errors import UserError


def calibrate(
    model: Annotated[str, typer.Argument(help="A model's folder or a run's folder; its interface.json is rewritten.")],
    data: DataOption,
    task: Annotated[str, typer.Option(help="captioning, classification or vqa.")] = "captioning",
    split: Annotated[str, typer.Option(help="The split to fit and measure on; never the one that was trained on.")] = "val",
    tokenizer: TokenizerOption = "ptb",
    columns: ColumnsOption = "",
    batch_size: BatchOption = 32,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Fit confidence on one half of a split and measure it on the other, both ways; then write a fit on all of it into the model.

    From then on, the confidence of a label or an answer is the probability that it is right; that of a caption is the probability
    that its own cider-2015 is above the median. No answer changes. ECE is the mean gap between confidence and truth, in ten bins.

    Examples:

        braid calibrate runs/photos --data photos.csv --split val

        braid calibrate runs/sentiment --task classification --data posts.csv

        braid calibrate runs/vqa --task vqa --data questions.jsonl --json
    """
    from braid.api import load
    from braid.bundle import write_task
    from braid.evaluation import calibrate as fit
    from braid.evaluation import predict, prepared
    from braid.tasks import confident

    loaded = load(model)
    raw = confident(loaded.task(task), "braid calibrate").unfitted
    samples = [sample for sample in prepared(raw, open_rows(loaded, data, columns).split(split)) if sample.targets]
    if not samples:
        message = f"{data}: no row of split {split!r} says what is right in {task}"
        raise UserError(f"{message}; map the column of captions, answers or label with --columns")
    answers = predict(loaded.runtime, loaded.collator, raw, samples, batch_size, watch=watched("answering"))
    report = fit(raw, answers, tokenizer, seed)
    write_task(loaded.bundle, report.task)
    if json:
        metrics = {"ece-before": 100 * report.error_before, "ece": 100 * report.error, "num_samples": report.num_samples}
        measured = {"ece-halves": [100 * error for error in report.errors], "bins": [asdict(one) for one in report.bins]}
        print_json({**metrics, **report.settings, **measured})
        return
    rows = [[f"{b.low:.1f} to {b.high:.1f}", b.count, f"{b.confidence:.2f}", f"{b.accuracy:.2f}"] for b in report.bins]
    title = f"Confidence on {report.num_samples} rows of {split}, each by a fit on the half that it is not in"
    print_table(title, ["confidence", "decisions", "mean", "right"], rows, ["decisions", "mean", "right"])
    halves = " and ".join(f"{100 * error:.1f}" for error in report.errors)
    settings = ", ".join(f"{name} {value:.3g}" for name, value in report.settings.items())
    note(f"\nECE {100 * report.error:.1f} ({halves} of the halves; {100 * report.error_before:.1f} before); {settings}")
    if report.error >= report.error_before:
        note("the fit is no better than none on rows that it has not seen; give more rows")
