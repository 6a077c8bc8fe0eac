"""braid compare: which fusion, which encoder, and are both inputs needed?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from braid.cli.console import note, print_json, print_table, watched
from braid.cli.options import JsonOption, SettingsOption

if TYPE_CHECKING:
    from braid.reports import Compared


def compare(
    comparison: Annotated[Path, typer.Argument(help="A comparison's YAML file.", show_default=False)],
    settings: SettingsOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its folder. Default: runs/NAME")] = None,
    json: JsonOption = False,
) -> None:
    """Train fusions, encoders or any other settings side by side, with several seeds, and report which one is really better.

    Every cell gets the same data, budget, seeds and stopping rule. Controls that see one input alone are trained beside them. The
    folder has a run for each, comparison.html and comparison.json. Run the command again to continue after an interruption.

    Examples:

        braid compare recipes/compare-scenes.yaml

        braid compare compare.yaml --set run.epochs=3 --set "seeds=[0, 1]" --output runs/quick --json
    """
    from braid.comparison import compare as run_comparison
    from braid.comparison import read_comparison
    from braid.config import to_dict

    folder = output or Path("runs") / comparison.stem
    config = read_comparison(comparison, settings or [])
    try:
        result = run_comparison(config, folder, watched("comparing"), note)
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
    """The metric that decides; the page has the others."""
    from braid.reports import told_costs, told_difference, told_spread

    rows = [
        [
            cell.name,
            told_spread(cell.metrics[result.metric]),
            told_difference(cell.behind) if cell.behind else "",
            *told_costs(cell),
        ]
        for cell in result.cells
    ]
    columns = ["cell", result.metric, "behind the best", "parameters", "training", "ms a row", "memory"]
    print_table(f"{result.task} on {result.data}, {result.num_rows} rows of {result.split}", columns, rows, columns[1:])
    marks = {True: "ok", False: "look", None: ""}
    print_table("\nVerdict", ["", "", ""], [[marks[one.good], one.title, one.text] for one in result.verdict])
    for message in result.notes:
        note(message)
