"""The page of bad inputs: each case with the error message of Braid, or with the result if it works.

    python tests/bad_inputs.py         writes docs/bad-inputs.md with the current messages

The cases are in ``bad/``; ``tests/test_bad_inputs.py`` compares every message with the page, word for word.
"""

import re
import shutil
import tempfile
from pathlib import Path

from bad import (  # noqa: F401 - each adds its cases
    configuration,
    data,
    explanations,
    foreign,
    image_generation,
    images,
    indexes,
    labels,
    models,
    scores,
    server,
    sounds,
    texts,
    videos,
)
from bad.case import CASES, Case, make_home
from braid.files import write_whole

PAGE = Path(__file__).resolve().parents[1] / "docs" / "bad-inputs.md"

HEADINGS = {
    "image": "Images",
    "audio": "Recordings",
    "video": "Videos",
    "data": "Data",
    "label": "Labels",
    "text": "Texts and names",
    "configuration": "Configuration",
    "model": "Saved models",
    "score": "Predictions and references",
    "index": "Indexes",
    "image generation": "Generated images",
    "explanation": "Explanations",
    "server": "Server",
}
INTRODUCTION = """# Bad inputs

Damaged files, wrong settings and other bad inputs, with the message of Braid. Each message is printed after `error: ` on one line
of stderr, with exit code 1; cases in *italics* work, or continue without the row. No case ends in a traceback. An unreadable row
never stops a run: training lists it in `skipped_rows.jsonl`, `braid predict` in the column `error`, `braid caption`
and `braid evaluate` in the file that `--skipped-rows` names. `--strict` stops at the first. A server
sends the same messages to its clients.

`python tests/bad_inputs.py` generates this page, and `tests/test_bad_inputs.py` tests every message.
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
