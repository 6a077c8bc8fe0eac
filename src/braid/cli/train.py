"""braid train, compare, average: from a table or a YAML file to a model folder, or to many side by side."""

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from braid.cli.console import note, print_json, print_table, print_text, rows_were, stderr, with_progress
from braid.cli.options import DATA, ColumnsOption, JsonOption, SettingsOption, StrictOption
from braid.errors import UserError

if TYPE_CHECKING:
    from braid.training import Estimate, Profile, RunConfig, Watcher
if TYPE_CHECKING:
    from braid.reports import Compared

TELL = 15.0  # seconds between two lines where output is no terminal


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
    bar = _Bar()
    try:
        with bar.progress:
            if staged:
                outcome = train_in_stages(config, folder, time, resume, bar.watcher())
            else:
                outcome = run_training(config, folder, resume, bar.watcher(), profile)
    except Stopped as stopped:
        if Group().leads:
            again = f"--output {folder}" if staged else folder / "run.yaml"
            note(f"stopped, and saved; go on with: braid train {again} --resume")
        raise typer.Exit(128 + stopped.number) from None
    if not Group().leads:
        return
    if asked and not outcome.went_on:
        raise UserError(f"{folder}: nothing was trained, because {outcome.ended}")
    if outcome.skipped_rows:
        note(f"{rows_were(outcome.skipped_rows)} skipped; {folder / SKIPPED} lists them")
    if json:
        metrics = {"best": outcome.best, "best_epoch": outcome.best_epoch, "metric": config.best}
        profiled = (
            {"profile": {**asdict(outcome.profile), "share_of_peak": outcome.profile.share_of_peak}} if outcome.profile else {}
        )
        said = {"advice": list(outcome.advice)} if outcome.advice else {}
        rest = {"num_steps": outcome.steps, "ended": outcome.ended, "num_skipped": outcome.skipped_rows}
        print_json({"folder": str(outcome.folder), **metrics, **rest, **said, **profiled})
        return
    early = " (stopped early)" if outcome.stopped_early else ""
    if outcome.stopped_early or not outcome.went_on:
        note(outcome.ended)
    print_table(
        f"Trained{early}" if outcome.went_on else "Nothing was trained",
        ["model", config.best, "val rows", "epoch"],
        [[str(folder / "best"), f"{outcome.best:.2f}" if outcome.best is not None else "", bar.val_rows, outcome.best_epoch + 1]],
    )
    for sentence in outcome.advice:
        print_text(sentence)
    if staged:
        print_text("next:", *(f"  {command}" for command in next_commands(config, folder, "1h")))
    if outcome.profile:
        _print_profile(outcome.profile, f"{config.precision}, {config.threads} threads")


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


class _Bar:
    """A live line: epoch, loss, rate, samples a second, time left; every few seconds a line of its own without a terminal."""

    def __init__(self) -> None:
        line = TextColumn("{task.fields[line]}")
        self.progress = Progress(line, BarColumn(), TimeElapsedColumn(), console=stderr, disable=not stderr.is_terminal)
        self._task: TaskID | None = None
        self.val_rows = ""  # of the last epoch
        self._told = perf_counter()

    def watcher(self) -> "Watcher":
        from braid.training import Watcher

        return Watcher(self._start, self._step, self._epoch, note)

    def _start(self, estimate: "Estimate") -> None:
        parameters = f"{estimate.parameters / 1e6:.1f} M parameters, {estimate.trained / 1e6:.1f} M of them trained"
        cost = f"about {_time(estimate.seconds)} and {estimate.memory_bytes / 1e9:.1f} GB of memory"
        note(f"{parameters}; {estimate.steps} steps, {cost}")
        self._task = self.progress.add_task("", total=estimate.steps, line="starting")

    def _step(self, record: dict[str, Any]) -> None:
        about = f"{record['task']} " if "task" in record else ""
        line = (
            f"epoch {record['epoch'] + 1}/{record['epochs']}  {about}loss {record['loss']:.3f}  "
            f"rate {record['learning_rate']:.1e}  {record['samples_per_second']:.0f} samples/s  "
            f"{_time(record['seconds_left'])} left"
        )
        if self._task is not None:
            self.progress.update(self._task, completed=record["step"], line=line)
        if self.progress.disable and perf_counter() - self._told > TELL:
            self._told = perf_counter()
            note(f"  step {record['step']} of {record['steps']}: {line}")

    def _epoch(self, record: dict[str, Any]) -> None:
        """Print the metrics of the main task on one line, and those of each other task on a separate line."""
        by_task: dict[str, list[str]] = {}
        for name, value in record.items():
            task, _, metric = name.rpartition(".")
            if metric not in ("step", "epoch", "best", "num_samples"):
                by_task.setdefault(task, []).append(f"{metric} {'not known' if value is None else f'{value:.2f}'}")
        self.val_rows = f"{int(record['num_samples']):,}" if "num_samples" in record else ""
        rows = f", {self.val_rows} val rows" if self.val_rows else ""
        note(f"epoch {record['epoch'] + 1}{rows}: {'  '.join(by_task.pop(''))}{'  (best)' if record['best'] else ''}")
        for task, metrics in by_task.items():
            note(f"  {task}: {'  '.join(metrics)}")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
    time: Annotated[str, typer.Option(help="What all trainings together may take: 30m, 2h. Each run gets the same share.")] = "",
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
        result = run_comparison(config, folder, with_progress("comparing"), note)
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
