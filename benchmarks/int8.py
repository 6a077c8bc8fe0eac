"""`small` with 8 bit weights and in fp32: size, a cold caption, and captions per second of CPU time.

    braid export small --output small-int8 --int8
    python benchmarks/int8.py small-int8

Both run on ONNX Runtime, with one thread, in turn. Times are CPU times, because other work on the machine affects wall time.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

from PIL import Image

from braid.bundle import find_bundle
from cold_start import timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--times", type=int, default=7)
    chosen = parser.parse_args()
    names = {"fp32": "small", "int8": chosen.folder}
    print("| | fp32 | int8 | ratio |\n|---|---|---|---|")
    show("folder, MB", {side: size(find_bundle(name)) for side, name in names.items()})
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.effect_noise((640, 480), 50).convert("RGB").save(photo)
        command = [sys.executable, "-m", "braid", "caption", str(photo), "--model"]
        runs = [{side: timed([*command, name]) for side, name in names.items()} for _ in range(chosen.times + 1)][1:]
    for place, metric in ((1, "one cold caption, CPU seconds"), (2, "one cold caption, peak MB")):
        show(metric, {side: median(run[side][place] for run in runs) for side in names})
    from captions_per_second import (
        jpeg,
        ours,
    )  # imported late: it loads torch, and a child's peak memory starts from its parent's

    sides = {side: ours("onnx", name) for side, name in names.items()}
    for batch in (1, 8):
        photos = [jpeg(seed) for seed in range(batch)]
        for beams in (1, 3):
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(chosen.times + 1):
                for side, caption in sides.items():
                    start = process_time()
                    caption(photos, beams)
                    seconds[side].append(process_time() - start)
            metrics = {side: batch / median(taken[1:]) for side, taken in seconds.items()}
            show(f"captions a CPU second, batch {batch}, beams {beams}", metrics)


def size(folder: Path) -> float:
    """Megabytes."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def show(metric: str, sides: dict[str, float]) -> None:
    cells = [f"{value:.3g}" for value in (*sides.values(), sides["int8"] / sides["fp32"])]
    print(f"| {metric} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
