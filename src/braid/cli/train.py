"""braid train, compare, average: from a table or a YAML file to a model folder, or to many side by side."""

import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import note, print_json, print_table, print_text, rows_were, stderr, with_progress
from braid.cli.options import DATA, ColumnsOption, JsonOption, SettingsOption, StrictOption
from braid.errors import UserError

if TYPE_CHECKING:
    from braid.reports import Compared
    from braid.training import Outcome, Profile, RunConfig
    from braid.training.kept import Kept


def train(
    run: Annotated[Path | None, typer.Argument(help="A run's YAML file.", show_default=False)] = None,
    task: Annotated[
        str,
        typer.Option(help="captioning, vqa, classification, retrieval, ... (without a YAML file)."),
    ] = "",
    data: Annotated[str, typer.Option(help=DATA)] = "",
    columns: ColumnsOption = "",
    model: Annotated[
        str, typer.Option("--model", "-m", help="A preset (quick, compact, classic, tiny), trained from scratch.")
    ] = "",
    start: Annotated[str, typer.Option(help="Fine-tune this model: a built-in name or a folder.")] = "",
    time: Annotated[str, typer.Option(help="What training may take: 10m, 1h. The best model of that time is kept.")] = "",
    settings: SettingsOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run's folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the folder's checkpoint.")] = False,
    strict: StrictOption = False,
    profile: Annotated[bool, typer.Option("--profile", help="At the end, print a breakdown of the time per step.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="At the end, measure the best model as `braid evaluate` does.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Train a model. Without a YAML file, a first model is there within a minute, and a later one replaces it if it is better.

    Ctrl-C finishes the step and saves a checkpoint; a second one stops at once. `braid settings` lists every setting.

    Examples:

        braid train --task captioning --data photos.csv

        braid train --task classification --data products.csv --time 10m --output runs/products

        braid train --output runs/products --resume --time 1h

        braid train --task captioning --data photos.csv --model classic --set epochs=20

        braid train run.yaml --set optimizer.learning_rate=1e-4 --output runs/slow

        braid train run.yaml --output runs/slow --resume

        torchrun --standalone --nproc-per-node 2 -m braid train run.yaml --output runs/two

        braid train run.yaml --output runs/look --profile --set epochs=1 --set data.limit_train=1000
    """
    from braid.skipped_rows import FILE as SKIPPED
    from braid.training import Stopped, next_commands, plan_of, train_in_stages
    from braid.training import train as run_training
    from braid.training.kept import Kept, measured
    from braid.training.lines import TrainingLines
    from braid.training.parallel import Group

    if resume and run is None and not task and output is not None:
        run = output / "run.yaml"
        if not run.exists() and plan_of(output) is None:
            raise UserError(f"{output} holds no run to resume; start one without --resume, or give its YAML file")
    asked = bool(settings)
    settings = [*(settings or []), *(["strict=true"] if strict else [])]
    begun = output or (run.parent if run is not None else None)
    plan = plan_of(begun) if resume and begun is not None else None
    staged = plan is not None or (run is None and not model and not profile and Group().alone)
    if time and not staged:
        settings.append(f"time={time}")
    config, folder = _config(plan or run, task, data, columns, model, start, settings, begun if plan else output)
    lines = TrainingLines(config, stderr, stderr.is_terminal, note)
    try:
        with lines.progress:
            if staged:
                outcome = train_in_stages(config, folder, time, resume, lines.watcher())
            else:
                outcome = run_training(config, folder, resume, lines.watcher(), profile)
    except (Stopped, KeyboardInterrupt) as stopped:
        if Group().leads:
            note(_best_so_far(config, folder))
            again = f"--output {folder}" if staged else folder / "run.yaml"
            if isinstance(stopped, Stopped):
                note(f"stopped, and saved; go on with: braid train {again} --resume")
            elif plan_of(folder) is not None or (folder / "run.yaml").exists():
                note(f"stopped between two steps; go on with: braid train {again} --resume")
            else:
                note("stopped before the first step; run the same command again")
        raise typer.Exit(128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)) from None
    if not Group().leads:
        return
    if asked and not outcome.went_on:
        raise UserError(f"{folder}: nothing was trained, because {outcome.ended}")
    if outcome.skipped_rows:
        note(f"{rows_were(outcome.skipped_rows)} skipped; {folder / SKIPPED} lists them")
    kept = measured(replace(config, time=time or config.time), folder) if measure else Kept({})
    best = kept.metrics.get(config.best, outcome.best)
    if json:
        metrics = {"best": best, "best_while_training": outcome.best, "best_epoch": outcome.best_epoch, "metric": config.best}
        scores = {"metrics": dict(kept.metrics), "num_val_rows": kept.num_rows} if kept.metrics else {}
        profiled = (
            {"profile": {**asdict(outcome.profile), "share_of_peak": outcome.profile.share_of_peak}} if outcome.profile else {}
        )
        said = {"advice": list(outcome.advice)} if outcome.advice else {}
        rest = {"num_steps": outcome.steps, "ended": outcome.ended, "num_skipped": outcome.skipped_rows}
        print_json({"folder": str(outcome.folder), **metrics, **scores, **rest, **said, **profiled})
        return
    early = " (stopped early)" if outcome.stopped_early else ""
    if outcome.stopped_early or not outcome.went_on:
        note(outcome.ended)
    val_rows = f"{kept.num_rows:,}" if kept.metrics else lines.val_rows
    print_table(
        f"Trained{early}" if outcome.went_on else "Nothing was trained",
        ["model", config.best, "val rows", "epoch"],
        [[str(folder / "best"), f"{best:.2f}" if best is not None else "", val_rows, outcome.best_epoch + 1]],
    )
    if remark := _measured_otherwise(config, outcome, kept):
        note(remark)
    for sentence in outcome.advice:
        print_text(sentence)
    if staged:
        print_text("next:", *(f"  {command}" for command in next_commands(config, folder, "1h")))
    if outcome.profile:
        _print_profile(outcome.profile, f"{config.precision}, {config.threads} threads")


def _best_so_far(config: "RunConfig", folder: Path) -> str:
    """What a run that was stopped has left."""
    from braid.bundle import find_bundle, read_bundle

    if not (folder / "best").is_dir():
        return f"there is no model in {folder} yet: the first one is saved after the first epoch"
    score = read_bundle(find_bundle(folder)).interface.card.scores.get(config.best)
    return f"the best model so far is in {folder / 'best'}" + (f" ({config.best} {score:.2f})" if score is not None else "")


def _measured_otherwise(config: "RunConfig", outcome: "Outcome", kept: "Kept") -> str:
    """Why the metric in the table is not that of the epochs, or not that of ``braid evaluate``."""
    if outcome.best is None or not kept.rougher:
        return ""
    if not kept.metrics:
        return f"{config.best} is that of training ({kept.rougher}); braid evaluate measures all val rows, and may differ"
    if f"{kept.metrics[config.best]:.2f}" == f"{outcome.best:.2f}":
        return ""
    return f"{config.best} is measured as braid evaluate does; it was {outcome.best:.2f} while training ({kept.rougher})"


def _print_profile(profile: "Profile", kind: str) -> None:
    whole = sum(profile.milliseconds.values()) or 1.0
    rows = [[part, f"{spent:.1f}", f"{spent / whole:.0%}"] for part, spent in profile.milliseconds.items()]
    rows.append(["in all", f"{whole:.1f}", ""])
    print_table(f"\nA step, mean of {profile.steps:,}", ["part", "ms", "share"], rows, ["ms", "share"])
    note(
        f"{profile.flops / 1e9:.1f} GFLOP forward and backward, {profile.share_of_peak:.0%} of the peak of a matrix product "
        f"({profile.peak / 1e9:.0f} GFLOP/s; {kind})"
    )


def _config(
    run: Path | None, task: str, data: str, columns: str, model: str, start: str, settings: list[str], output: Path | None
) -> tuple["RunConfig", Path]:
    from braid.datasets.table import parse_columns
    from braid.training import default_run, read_run, run_from

    if run is not None:
        if task or data:
            raise UserError(f"{run} says task and data already; change them with --set task.kind=... or --set data.path=...")
        folder = output or (run.parent if run.name == "run.yaml" else Path("runs") / run.stem)
        return read_run(run, settings), folder
    if not task or not data:
        raise UserError(
            "give a run's YAML file, or --task and --data; for example: braid train --task captioning --data photos.csv"
        )
    if model and start:
        raise UserError(f"--model {model} trains from scratch and --start {start} fine-tunes a saved model; give one of them")
    where = {"path": data, "columns": parse_columns(columns)}
    whole = default_run(task, where, model, start, settings)
    folder = output or Path("runs") / f"{Path(data).stem.replace(':', '-') or 'data'}-{task}"
    return run_from(whole, settings), folder


def average(
    models: Annotated[list[str], typer.Argument(help="Two or more models of one architecture and tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the new model.")],
    half: Annotated[bool, typer.Option("--half", help="Save in float16, at half the size.")] = False,
    json: JsonOption = False,
) -> None:
    """Average the weights of models with a common start: the last epochs of a run, or runs from the same model.

    The mean is often better than each, at the cost of one (arXiv:1803.05407, arXiv:2203.05482). Models with different starts give
    nonsense, so measure the result. Scores and calibration are not copied: they belong to other weights.

    Examples:

        braid train photos.yaml --output runs/photos --set keep=4

        braid average runs/photos/epoch-* --output runs/photos-mean
    """
    from braid.bundle import average as average_of
    from braid.bundle import find_bundle, read_bundle

    bundles = [read_bundle(find_bundle(model)) for model in models]
    average_of(bundles, output, half)
    if json:
        print_json({"folder": str(output), "models": len(bundles)})
        return
    note(f"{output}: the mean of {len(bundles)} models; braid evaluate --model {output} --data ... measures it")


def compare(
    comparison: Annotated[Path | None, typer.Argument(help="A comparison's YAML file.", show_default=False)] = None,
    run: Annotated[Path | None, typer.Option("--from", help="Instead: a run's folder or YAML file, varied by --vary.")] = None,
    vary: Annotated[list[str] | None, typer.Option(help="A setting and its values: fusion=concat,gated. Repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="With --from: train every cell with so many seeds.")] = 3,
    time: Annotated[str, typer.Option(help="What the whole comparison may take: 30m, 2h. Each run gets the same share.")] = "",
    settings: SettingsOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its folder. Default: runs/NAME")] = None,
    json: JsonOption = False,
) -> None:
    """Train fusions, encoders or any other settings side by side, with several seeds, and report which one is really better.

    Every cell gets the same data, budget, seeds and stopping rule. Controls that see one input alone are trained beside them. The
    folder has a run for each, comparison.html and comparison.json. Run the command again to continue after an interruption.

    Examples:

        braid compare --from runs/mine --vary fusion=concat,gated,attention --seeds 3 --time 30m

        braid compare recipes/compare-scenes.yaml

        braid compare compare.yaml --set run.epochs=3 --set "seeds=[0, 1]" --output runs/quick --json
    """
    from braid.comparison import compare as run_comparison
    from braid.comparison import comparison_of, read_comparison, within_time
    from braid.config import to_dict
    from braid.training.sections import seconds_of

    if comparison is not None and run is None and not vary:
        folder, config = output or Path("runs") / comparison.stem, read_comparison(comparison, settings or [])
    elif run is not None and vary and comparison is None:
        home = run.parent if run.name == "run.yaml" else run
        folder, config = output or Path("runs") / f"{home.stem}-compared", comparison_of(run, vary, seeds, settings or [])
    else:
        raise UserError("give a comparison's YAML file, or a run with --from and what to vary with --vary")
    if time:
        config = within_time(config, time)
    try:
        result = run_comparison(config, folder, with_progress("comparing"), note, seconds_of(time))
    except KeyboardInterrupt:
        note("stopped; run the same command again to continue")
        raise
    if json:
        print_json(to_dict(result))
    else:
        _print(result)
        note(f"\nthe page: {(folder / 'comparison.html').resolve()}")
    if result.failed:
        raise typer.Exit(1)


def _print(result: "Compared") -> None:
    """Print the main metric; the page has the others."""
    from braid.reports import format_costs, format_difference, format_spread

    rows = [
        [
            cell.name,
            format_spread(cell.metrics[result.metric]),
            format_difference(cell.behind) if cell.behind else "",
            *format_costs(cell),
        ]
        for cell in result.cells
    ]
    columns = ["cell", result.metric, "behind the best", "parameters", "training", "ms a row", "memory"]
    print_table(f"{result.task} on {result.data}, {result.num_rows} rows of {result.split}", columns, rows, columns[1:])
    marks = {True: "ok", False: "look", None: ""}
    print_table("\nVerdict", ["", "", ""], [[marks[one.good], one.title, one.text] for one in result.verdict])
    for message in result.notes:
        note(message)
