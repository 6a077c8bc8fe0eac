"""The table of floors in the docs, made from the import contracts: ``python tests/floors_table.py`` writes it."""

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "braid"
START, END = "<!-- floors -->", "<!-- /floors -->"


def contracts() -> list[Mapping[str, Any]]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[Mapping[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def floors() -> list[list[str]]:
    """The names on each floor, the highest floor first."""
    (layers,) = (contract["layers"] for contract in contracts() if contract["type"] == "layers")
    return [re.findall(r"\w+", layer) for layer in layers]


def without_torch() -> set[str]:
    """The modules, below ``braid``, that a contract keeps from importing torch."""
    sources = [contract["source_modules"] for contract in contracts() if "torch" in contract.get("forbidden_modules", ())]
    return {module.removeprefix("braid.") for source in sources for module in source}


def meaning(name: str) -> str:
    """The first paragraph of a module's docstring, on one line."""
    path = PACKAGE / name / "__init__.py" if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split()).removesuffix(".").replace("``", "`").replace("|", "\\|")


def table() -> str:
    """One row per module, the highest floor first; modules of one floor share its number."""
    free = without_torch()
    rows = ["| floor | module | what it is | never imports torch |", "|---|---|---|---|"]
    levels = floors()
    for number, names in zip(range(len(levels), 0, -1), levels, strict=True):
        for name in names:
            parts = sorted(module.partition(".")[2] for module in free if module.startswith(f"{name}."))
            never = "yes" if name in free else ", ".join(f"`{part}`" for part in parts)
            rows.append(f"| {number} | `{name}` | {meaning(name)} | {never} |")
    return "\n".join(rows)


def listing() -> str:
    """One line per floor, the highest first."""
    return "\n".join(["```", *("  ".join(names) for names in floors()), "```"])


PAGES = {ROOT / "docs" / "architecture.md": table, ROOT / "CONTRIBUTING.md": listing}


def with_floors(text: str, made: str) -> str:
    """The page with what was made between its two markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    assert start and end, f"there is no {START} ... {END}"
    return f"{before}{START}\n{made}\n{END}{after}"


def main() -> None:
    for page, make in PAGES.items():
        write_whole(page, with_floors(page.read_text(encoding="utf-8"), make()))
        print(page)


if __name__ == "__main__":
    main()
