"""What people and accidents do to files, and what Braid says: one sentence, or it simply works.

    python tests/bad_inputs.py         writes docs/bad-inputs.md from what the code says now

The cases stand in ``bad/``; ``tests/test_bad_inputs.py`` holds every one to its sentence, word for word.
"""

import re
import shutil
import tempfile
from pathlib import Path

from bad import (  # noqa: F401 - each adds its cases
    configuration,
    data,
    drawings,
    explanations,
    images,
    indexes,
    labels,
    models,
    scores,
    server,
)
from bad.case import CASES, Case, make_home
from braid.files import write_whole

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bad-inputs.md"

HEADINGS = {
    "picture": "Pictures",
    "data": "Data",
    "label": "Labels",
    "configuration": "Configuration",
    "model": "Saved models",
    "score": "Predictions and references",
    "index": "Indexes",
    "drawing": "Drawings",
    "explanation": "Explanations",
    "server": "Server",
}
INTRODUCTION = """# Bad inputs

What happens to files, and what Braid says. Every sentence is printed after `error: ` on one line of stderr, with exit code 1;
what is in *italics* works, or goes on without the row in question. No case ends in a traceback, and a row that cannot be read
never ends a run of thousands: training lists it in `skipped_rows.jsonl`, `braid predict` in the column `error`, `braid caption`
and `braid evaluate` in the file that `--skipped-rows` names. `--strict` stops at the first. A server
says the same sentences to its clients.

This page is made by `python tests/bad_inputs.py`; `tests/test_bad_inputs.py` holds Braid to every word of it.
"""


def row(case: Case, said: str) -> str:
    """One row of the page. Long runs of one character are cut."""
    cells = (re.sub(r"(\W)\1{20,}", r"\1\1\1...", cell).replace("|", "\\|").replace("<", "&lt;") for cell in (case.what, said))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    lines = [INTRODUCTION]
    with tempfile.TemporaryDirectory() as place:
        make_home(Path(place) / "template")
        for kind, heading in HEADINGS.items():
            lines += [f"## {heading}", "", "| what is wrong | what Braid says |", "|---|---|"]
            for number, one in enumerate(CASES):
                if one.kind == kind:
                    home = Path(place) / str(number)
                    shutil.copytree(Path(place) / "template", home)
                    lines.append(row(one, one.says(home)))
            lines.append("")
    write_whole(PAGE, "\n".join(lines).rstrip() + "\n")
    print(f"{PAGE}: {len(CASES)} cases")


if __name__ == "__main__":
    main()
