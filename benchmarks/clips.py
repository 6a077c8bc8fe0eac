"""Captions and categories of clips: whole clips against their middle frames, the same recipe and the same rows.

    python benchmarks/clips.py ../shared/data/msrvtt-frames/clips.jsonl            about 40 minutes of two cores

The clips are key frames of 690 videos of MSR-VTT's public *test* set (20 captions each, 20 categories, no sound), in an own split
by source: 610 train, 80 held out. A tenth of the train clips chooses the epoch. Controls: the built-in model on the middle frame
as it is, and what `braid train` makes of the middle frames in the same --time.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from braid.media import read_frames
from runs import answered, lead, report, say, shown, trained_by_default

ROOT = Path("runs/clips")
BEAM = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=("captions", "categories"))
    parser.add_argument("--time", default="10m", help="of each training of a captioner")
    chosen = parser.parse_args()
    os.environ.setdefault("BRAID_CACHE", str(ROOT / "cache"))
    table = table_of(chosen.clips)
    if chosen.only != "categories":
        captions(table, chosen.seeds, chosen.time)
    if chosen.only != "captions":
        categories(table, chosen.seeds)


def table_of(source: Path) -> Path:
    """The rows with the path of the clip and of its middle frame; val rows are ``held``, a tenth of the others is val. No column
    of files has a name that Braid knows, because it would read it beside the others."""
    target = ROOT / "clips.jsonl"
    (ROOT / "frames").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        clip = (source.parent / row["video"]).resolve()
        frame = ROOT / "frames" / f"{clip.stem}.png"
        if not frame.exists():
            Image.fromarray(read_frames(str(clip), number=1).pixels[0]).save(frame)
        split = "held" if row["split"] == "val" else "val" if number % 10 == 7 else "train"
        kept = {"captions": row["captions"], "topic": row["category"], "split": split}
        lines.append(json.dumps({"moving": str(clip), "still": str(frame.resolve()), **kept}))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def captions(table: Path, seeds: int, limit: str) -> None:
    systems = {
        "built-in, middle frame": ("image", None),
        "trained on middle frames": ("image", "frames"),
        "trained on clips": ("video", "clips"),
    }
    rows, items, seed_count = [], {}, {}
    for name, (role, run) in systems.items():
        columns = {role: "moving" if role == "video" else "still", "captions": "captions"}
        each, whole = [], []
        for seed in range(seeds if run else 1):
            place = ROOT / f"{run}-{limit}-{seed}"
            folder = trained_by_default("captioning", table, columns, place, [f"seed={seed}"], limit) if run else "small"
            said = answered(folder, "captioning", table, columns, "held", BEAM)
            each.append(said.right)
            whole.append(said.metrics)
            for one, sample in list(zip(said.predictions, said.samples, strict=True))[:10]:
                say(f"  {one.text}   |   {sample.references[0]}")
        items[name], seed_count[name] = np.mean(each, axis=0), len(each)
        rows.append([name, seed_count[name], shown(items[name]), *(mean(whole, key) for key in ("bleu-4", "rouge-l"))])
        say(str(rows[-1]))
    for name in list(systems)[:-1]:
        rows.append([f"clips less {name}", "", lead(items["trained on clips"], items[name]), "", ""])
    number = len(items["trained on clips"])
    how = (
        f"{number} held-out clips, 20 references each, beam {BEAM}, tokenizer ptb; {limit} a training. CIDEr is that "
        "of coco-caption, with a 95% bootstrap interval over clips; the last rows are paired. No claim on the public test set."
    )
    report("clips_captions", "Captions of clips", ["system", "seeds", "cider", "bleu-4", "rouge-l"], rows, how)


def categories(table: Path, seeds: int) -> None:
    rows, right = [], {}
    for name, role in (("middle frames", "image"), ("clips", "video")):
        columns = {role: "moving" if role == "video" else "still", "label": "topic"}
        each = []
        for seed in range(seeds):
            folder = trained_by_default("classification", table, columns, ROOT / f"categories-{role}-{seed}", [f"seed={seed}"])
            each.append(answered(folder, "classification", table, columns, "held").right)
        right[name] = np.mean(each, axis=0)
        rows.append([name, seeds, shown(right[name])])
        say(str(rows[-1]))
    held = [json.loads(line)["topic"] for line in table.read_text().splitlines() if json.loads(line)["split"] == "held"]
    rows.append(["largest category", "", f"{100 * max(held.count(one) for one in set(held)) / len(held):.1f}"])
    how = f"Accuracy on {len(held)} held-out clips, 20 categories, x100, with 95% bootstrap intervals over clips."
    report("clips_categories", "Categories of clips", ["input", "seeds", "accuracy"], rows, how)


def mean(metrics: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([one[name] for one in metrics]))


if __name__ == "__main__":
    main()
