"""How fast a frozen image encoder fills the cache of features: its graph on ONNX Runtime beside torch, on the same pixels.

    python benchmarks/encoding.py          two minutes of two cores

EfficientNet-Lite2 at 256 pixels, batches of 32, after one batch that is not timed; the two take turns.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from braid.bundle import find_bundle, read_bundle
from braid.modalities import ImageModality
from braid.records import Padded
from braid.runtime.torch import load_model
from braid.training import encoding
from runs import report

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    bundle = read_bundle(find_bundle("small"))
    encoder, modality = load_model(bundle).encoders["image"].eval(), bundle.inputs["image"]
    assert isinstance(modality, ImageModality)
    ways = {
        "torch": encoding.on_torch(encoder, "float32"),
        "ONNX Runtime": encoding.fastest(encoder, "float32", modality, encoding.MANY),
    }
    shape = (BATCH, 3, modality.size, modality.size)
    pixels = Padded(np.random.default_rng(0).standard_normal(shape, np.float32), np.ones((BATCH, *shape[2:]), bool))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(chosen.batches + 1):
        for name, encode in ways.items():
            started = time.perf_counter()
            encode(pixels)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    rows = [[name, 1000 * median / BATCH, f"{medians['torch'] / median:.2f}"] for name, median in medians.items()]
    how = f"{chosen.threads} threads, medians of {chosen.batches} batches of {BATCH} images."
    report("encoding", "Filling the cache of features", ["with", "ms an image", "times as fast as torch"], rows, how)


if __name__ == "__main__":
    main()
