"""Exercises of the gym as clips: which part of the body, with what equipment, and which clip belongs to a text?

    python benchmarks/exercises.py data/exercises/exercises.json            about 15 minutes of two cores

The 1,324 clips (GIFs of drawn figures, mostly of four frames) are those of the public repository hasaneyldrm/exercises-dataset;
the table names them in its column gif_url. A fifth, by a hash of the name without what is in brackets ("push-up (male)"), is held
out, and a tenth of the others chooses the epoch. A clip's text is its name and its instructions. The control sees one frame, the
middle one.
"""

import argparse
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from braid.media import read_frames
from runs import answered, lead, report, say, shown, trained_by_default

ROOT = Path("runs/exercises")
LABELS = {"body part": "body_part", "equipment": "equipment"}
INPUTS = {"clip": ("video", "moving"), "middle frame": ("image", "still")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--time", default="", help="of each training, such as 10m")
    parser.add_argument("--inputs", nargs="+", choices=list(INPUTS), default=list(INPUTS))
    chosen = parser.parse_args()
    os.environ.setdefault("BRAID_CACHE", str(ROOT / "cache"))
    table = table_of(chosen.table)
    held = [row for row in map(json.loads, table.read_text(encoding="utf-8").splitlines()) if row["split"] == "held"]
    rows: list[list[Any]] = []
    for name, column in LABELS.items():
        values = [row[column] for row in held]
        largest = 100 * max(values.count(one) for one in set(values)) / len(held)
        right = {}
        for what in chosen.inputs:
            role, source = INPUTS[what]
            columns = {role: source, "label": column}
            folder = trained_by_default("classification", table, columns, ROOT / slug(name, what, chosen.time), (), chosen.time)
            right[what] = answered(folder, "classification", table, columns, "held").right
            rows.append([name, what, shown(right[what]), f"{largest:.1f}"])
            say(str(rows[-1]))
        if len(right) > 1:
            rows.append([name, "clip less frame", lead(*right.values()), ""])
    for what in chosen.inputs:
        role, source = INPUTS[what]
        columns = {role: source, "captions": "texts"}
        folder = trained_by_default("retrieval", table, columns, ROOT / slug("search", what, chosen.time), (), chosen.time)
        found = answered(folder, "retrieval", table, columns, "held").metrics
        recalls = ", ".join(f"{key} {value:.1f}" for key, value in found.items() if "recall" in key)
        rows.append([f"search among {len(held)}", what, recalls, f"{1000 / len(held):.1f} at 10"])
        say(str(rows[-1]))
    how = (
        f"{len(held)} held-out clips, x100, with 95% bootstrap intervals over clips; seed 0; time: "
        f"{chosen.time or 'the default'}. The last column is what the largest class, or chance, would reach."
    )
    report(
        f"exercises{f'_{chosen.time}' if chosen.time else ''}",
        "Exercises as clips",
        ["what", "input", "right", "floor"],
        rows,
        how,
    )


def table_of(source: Path) -> Path:
    """The rows with the clip, its middle frame, its labels and sentences; a held-out fifth is ``held``. No column has a name that
    Braid knows, because it would read it beside the others."""
    target = ROOT / "clips.jsonl"
    (ROOT / "frames").mkdir(parents=True, exist_ok=True)
    lines = []
    for row in json.loads(source.read_text(encoding="utf-8")):
        clip = (source.parent / row["gif_url"]).resolve()
        frame = ROOT / "frames" / f"{clip.stem}.png"
        if not frame.exists():
            Image.fromarray(read_frames(str(clip), number=1).pixels[0]).save(frame)
        number = int(hashlib.sha1(re.sub(r" *\(.*?\)", "", row["name"]).encode(), usedforsecurity=False).hexdigest(), 16)
        split = "held" if number % 5 == 0 else "val" if number % 10 == 7 else "train"
        texts = [f"{row['name']}. {row['instructions']}"] + ([row["name"]] if number % 5 else [])
        kept = {"body_part": row["body_part"], "equipment": row["equipment"], "texts": texts, "split": split}
        lines.append(json.dumps({"moving": str(clip), "still": str(frame.resolve()), **kept}))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def slug(*parts: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts)).strip("-")


if __name__ == "__main__":
    main()
