"""braid settings: every setting, with type, default and meaning."""

from dataclasses import asdict
from typing import Annotated

import typer

from braid.cli.console import print_json, print_table


def settings(
    part: Annotated[str, typer.Argument(help="A group such as fusion, or one part of it such as fusion.attention.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/settings.md.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a part.")] = False,
) -> None:
    """List settings of a run, a model, a comparison or the server: type, default and meaning.

    Examples:

        braid settings

        braid settings fusion.attention

        braid settings encoders --json
    """
    from braid.cli.settings_reference import find_parts
    from braid.cli.settings_reference import markdown as page

    if markdown:
        print(page(), end="")
        return
    for number, one in enumerate(find_parts(part)):
        if json:
            print_json({"part": one.path, "about": one.about, "settings": [asdict(setting) for setting in one.settings]})
            continue
        rows = [[setting.name, setting.type, setting.default, setting.meaning] for setting in one.settings]
        title = f"{chr(10) * bool(number)}{one.path}: {one.about}"
        print_table(title, ["setting", "type", "default", "meaning"], rows or [["(none)", "", "", ""]])
