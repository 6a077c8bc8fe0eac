"""braid recipes: the settings files that ship with Braid."""

from pathlib import Path
from typing import Annotated

import typer

from braid.cli.console import note, print_json, print_table
from braid.config import did_you_mean
from braid.errors import UserError
from braid.files import RECIPES


def recipes(
    name: Annotated[str, typer.Argument(help="Print this one.", show_default=False)] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object per recipe.")] = False,
) -> None:
    """List the settings files that ship with Braid, or print one.

    `braid train recipes/sentiment.yaml` finds a recipe in any folder.

    Examples:

        braid recipes

        braid recipes compare-scenes > mine.yaml
    """
    found = {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in sorted(RECIPES.rglob("*.yaml"))}
    if name:
        key = name.removeprefix("recipes/").removesuffix(".yaml")
        if key not in found:
            raise UserError(f"there is no recipe {name!r}; {did_you_mean(key, list(found))}")
        print(found[key].read_text(encoding="utf-8"), end="")
        return
    rows = {key: _about(path) for key, path in found.items()}
    if json:
        for key, about in rows.items():
            print_json({"recipe": key, "about": about, "file": str(found[key])})
        return
    print_table("Recipes", ["recipe", "about"], [[key, about] for key, about in rows.items()])
    note("print one with: braid recipes NAME; use it with: braid train recipes/NAME.yaml, or braid compare for compare-*")


def _about(path: Path) -> str:
    """The first sentence of the comment at the top."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.startswith("#   "):  # a command
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines).partition(". ")[0].rstrip(".")
