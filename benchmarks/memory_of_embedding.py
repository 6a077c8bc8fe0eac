"""Memory and time of ``braid embed``: do they grow with the number of files?

    python benchmarks/memory_of_embedding.py                       1,000 and 10,000 files
    python benchmarks/memory_of_embedding.py --images 1000 10000 100000

Files and measurements are those of ``memory_of_training.py``. The model is ``tiny()``, trained briefly for retrieval, so that the
handling of files dominates. The start-up time is measured on one file and subtracted.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from braid.training import run_from, train
from memory_of_training import make, peak_memory
from runs import report, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000])
    chosen = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="braid-embedding-") as name:
        home = Path(name)
        model = finder(home / "run")
        make_in(home / "one", 1)
        _, start = embedding(model, [next((home / "one" / "images").iterdir())], home)
        first: tuple[float, float] | None = None
        for images in chosen.images:
            say(f"{images:,} images")
            make_in(home / str(images), images)
            peak, minutes = embedding(model, [home / str(images) / "images"], home)
            each = (minutes - start) * 60_000 / images
            first = first or (peak, each)
            rows.append([f"{images:,}", peak, f"{peak / first[0]:.3f}", minutes, f"{each:.2f}", f"{each / first[1]:.2f}"])
    how = (
        "64 x 64 JPEG files, `braid embed FOLDER -o vectors.npy` with tiny(). Memory is the peak of the process's PSS, start "
        f"included. The start took {start * 60:.1f} s."
    )
    columns = ["images", "peak memory, MB", "ratio", "minutes", "ms per image, without the start", "ratio"]
    report("memory_of_embedding", "Memory and time of embedding", columns, rows, how)


def finder(folder: Path) -> Path:
    """Train a model that embeds, and return its folder."""
    settings = {
        "task": "retrieval",
        "data": {"path": "scenes:captioning,train=32,val=8,test=1,compositional=1,size=32"},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "epochs": 1,
        "threads": 1,
    }
    return train(run_from(settings), folder).folder / "best"


def make_in(folder: Path, images: int) -> None:
    folder.mkdir()
    make(folder, images)


def embedding(model: Path, what: list[Path], home: Path) -> tuple[float, float]:
    """Peak memory in MB, and minutes."""
    output = ["--model", str(model), "-o", str(home / "vectors.npy")]
    return peak_memory([sys.executable, "-m", "braid", "embed", *map(str, what), *output])


if __name__ == "__main__":
    main()
