"""Memory of training: does it grow with the data set? The same number of steps on 1,000 and on 100,000 images.

    python benchmarks/memory_of_training.py             about half an hour of one core
    python benchmarks/memory_of_training.py --images 1000 20000 --steps 300
    python benchmarks/memory_of_training.py --clips 100 1000 10000       about 5 minutes of two cores

The images are synthetic: 64 x 64 JPEG files with different paths and five captions like those of Flickr8k, in one jsonl table.
Clips are MP4 files of eight frames of such images.
The model is ``tiny()`` with two worker processes. By default one run reads the largest data set once, so that every row passes
through a worker. Each run is a process of its own; its memory, with that of its children, is read twenty times per second as PSS,
which divides shared pages between processes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from braid.config import to_dict
from runs import report, say

BATCH = 64
SIZE = 64
FRAMES = 8
DISTINCT = 1_000
SUBJECTS = ("a brown dog", "two children", "a man in a red shirt", "a woman with a camera", "a small boat", "three people")
ACTIONS = ("runs along the beach", "is playing in the snow", "stands near the water", "jumps over a fence", "looks at the sky")
PLACES = ("on a sunny day", "behind an old house", "in front of a crowd", "with a yellow ball", "next to a wooden bench")


def make(folder: Path, number: int, role: str) -> None:
    """Write images or clips and their table; the last 64 rows are val, files after the first 1,000 hard links."""
    rng = random.Random(0)
    originals: list[Path] = []
    (folder / "files").mkdir()
    write, suffix = WRITERS[role]
    with open(folder / "data.jsonl", "w", encoding="utf-8") as table:
        for k in range(number + BATCH):
            name = f"files/{k:07d}_{rng.getrandbits(40):010x}{suffix}"
            if k < DISTINCT:
                write(folder / name, np.random.default_rng(k))
                originals.append(folder / name)
            else:
                os.link(originals[k % DISTINCT], folder / name)
            captions = [
                f"{rng.choice(SUBJECTS)} {rng.choice(ACTIONS)} {rng.choice(PLACES)} , number {k % 997} ." for _ in range(5)
            ]
            row = {role: name, "split": "train" if k < number else "val", "captions": captions}
            table.write(json.dumps(row) + "\n")


def noise(rng: np.random.Generator) -> Image.Image:
    """Smooth noise."""
    return Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIZE, SIZE))


def write_image(path: Path, rng: np.random.Generator) -> None:
    noise(rng).save(path)


def write_clip(path: Path, rng: np.random.Generator) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_image(noise(rng))))
        container.mux(stream.encode(None))


WRITERS = {"image": (write_image, ".jpg"), "video": (write_clip, ".mp4")}
READERS: dict[str, dict[str, object]] = {
    "image": {"kind": "image", "size": 32, "augmentation": {"horizontal_flip": 0.5}},
    "video": {"kind": "video", "size": 32, "frames": 4},
}


def train_for(data: Path, role: str, steps: int, output: Path) -> None:
    """Train for ``steps`` steps, over as many epochs as needed."""
    from braid.presets import tiny
    from braid.training import Watcher, run_from, train

    settings = {
        "task": "captioning",
        "data": {"path": str(data / "data.jsonl")},
        "model": to_dict(tiny([role, "prompt"])),
        "inputs": {role: READERS[role], "prompt": {"kind": "text", "max_length": 16}},
        "evaluation": {"limit": 8},
        "epochs": 1_000_000,
        "batch_size": BATCH,
        "workers": 2,
        "threads": 1,
    }

    def stop(record: dict[str, float]) -> None:
        if record["step"] >= steps:
            raise KeyboardInterrupt

    try:
        train(run_from(settings), output, watcher=Watcher(on_step=stop))
    except KeyboardInterrupt:
        say(f"  {steps:,} steps done")


def peak_memory(command: list[str]) -> tuple[float, float]:
    """Run a command, and return the peak memory of it and its children together, in MB, and its minutes."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(map(proportional_mb, family(process.pid))))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.returncode)
    return most, (time.perf_counter() - started) / 60


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        children = [int(child) for task in tasks for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(one for child in children for one in family(child))]


def proportional_mb(pid: int) -> float:
    """PSS in MB: private memory and a share of shared memory."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--clips", type=int, nargs="+", help="in place of images")
    parser.add_argument("--steps", type=int, help="default: one pass over the largest data set")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.data:
        train_for(chosen.data, chosen.role, chosen.steps, chosen.output)
        return
    role, what = ("video", "clips") if chosen.clips else ("image", "images")
    numbers = chosen.clips or chosen.images
    steps = chosen.steps or -(-max(numbers) // BATCH)
    rows: list[list[object]] = []
    memory = []
    with tempfile.TemporaryDirectory(prefix="braid-memory-") as home:
        for number in numbers:
            say(f"{number:,} {what}")
            data = Path(home) / str(number)
            data.mkdir()
            make(data, number, role)
            arguments = ["--data", str(data), "--role", role, "--steps", str(steps), "--output", str(data / "run")]
            peak, minutes = peak_memory([sys.executable, __file__, *arguments])
            memory.append(peak)
            rows.append([f"{number:,}", f"{steps:,}", peak, f"{peak / memory[0]:.3f}", minutes])
    passes = steps * BATCH / max(numbers)
    made = f"MP4 of {FRAMES} frames, of which 4 are read" if chosen.clips else "JPEG, augmentation"
    how = (
        f"tiny() captions synthetic {what} ({SIZE} x {SIZE} {made}; five captions each), batch {BATCH}, two workers; "
        f"{steps:,} steps in every run, which is {passes:.2f} passes over the larger data set. Memory is the peak of the summed "
        "PSS of the training process and its workers, from start to end, with opening the data."
    )
    columns = [what, "steps", "peak memory, MB", "ratio", "minutes"]
    report(f"memory_of_training{'_clips' if chosen.clips else ''}", f"Memory of training on {what}", columns, rows, how)


if __name__ == "__main__":
    main()
