"""Time and memory of image generation: both decoders of one size, one image and sixteen at once, with and without the cache.

    python benchmarks/image_generation_speed.py

Weights are random, because time does not depend on them. Times are given relative to the raster decoder with its cache and one
image, as the median of seven runs in turn, because the speed of the machine changes; seconds are from one machine, for scale.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from braid.codecs import FSQCodecConfig
from braid.decoders import MaskedDecoderConfig, RasterDecoder, RasterDecoderConfig
from braid.encoders import TransformerTextEncoderConfig
from braid.generation.images import ImageSamplingConfig, sample_tokens
from braid.modalities import ImageModalityConfig, TextModalityConfig, Tokenizer
from braid.model import Model, ModelConfig
from braid.records import Batch, BatchInput, Padded
from braid.runtime.torch import TorchRuntime, to_tensors
from runs import report

SIZE, WIDTH, DEPTH, HEADS, STEPS = 128, 256, 4, 4, 12
TIMES = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", nargs=2, metavar=("KIND", "ROWS"), help="generate once, and print the peak memory in MB")
    chosen = parser.parse_args()
    if chosen.alone:
        _generation(chosen.alone[0], int(chosen.alone[1]))()
        # Not getrusage: its peak is inherited from the parent process.
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert peak is not None
        print(int(peak[1]) / 1024)
        return
    ways = {("raster, with a cache", rows): _generation("raster", rows) for rows in (1, 16)} | {
        ("masked, 12 steps", rows): _generation("masked", rows) for rows in (1, 16)
    }
    ways["raster, without a cache", 1] = _generation("uncached", 1)
    seconds = {way: [] for way in ways}  # type: dict[tuple[str, int], list[float]]
    for _ in range(TIMES):
        for way, generate in ways.items():
            started = time.perf_counter()
            generate()
            seconds[way].append((time.perf_counter() - started) / way[1])
    base = seconds["raster, with a cache", 1]
    rows = []
    for (name, number), result in seconds.items():
        share = float(np.median(np.array(result) / np.array(base)))
        memory = "" if "without" in name else f"{_memory(name.partition(',')[0], number):.0f}"
        rows.append([name, number, f"{share:.3f}", f"{np.median(result):.2f}", memory])
    how = (
        f"{SIZE} x {SIZE} pixels in {(SIZE // 8) ** 2} tokens of 4,096 codes, decoders of width {WIDTH} and depth {DEPTH}, "
        "guidance 2 (so every step runs twice), two threads. Memory is that of a whole process, torch included."
    )
    columns = ["decoder", "images at once", "time per image, relative to the first", "seconds per image", "MB"]
    report("image_generation_speed", "Time of image generation", columns, rows, how)


def _memory(kind: str, rows: int) -> float:
    ran = subprocess.run([sys.executable, __file__, "--alone", kind, str(rows)], capture_output=True, text=True, check=True)
    return float(ran.stdout)


def _generation(kind: str, rows: int) -> Callable[[], np.ndarray]:
    """A function that generates ``rows`` images from a prompt of twelve words, pixels included."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    decoder = (MaskedDecoderConfig if kind == "masked" else RasterDecoderConfig)(width=WIDTH, depth=DEPTH, heads=HEADS)
    config = ModelConfig(
        WIDTH,
        {"prompt": TransformerTextEncoderConfig(width=WIDTH, depth=2, heads=HEADS)},
        decoders={"image": decoder},
        codecs={"image": FSQCodecConfig()},
    )
    tokenizer = Tokenizer.train(["a small red circle left of a large blue square"] * 9, vocab_size=300)
    outputs = {"image": ImageModalityConfig(size=SIZE).build()}
    model = config.build({"prompt": TextModalityConfig(max_length=32).build(tokenizer)}, outputs).eval()
    tokens = np.tile(np.arange(20, 32), (1, 1))
    given = BatchInput(Padded(tokens, np.ones_like(tokens, bool)), np.zeros(rows, np.int64))
    batch = Batch(tuple(map(str, range(rows))), {"prompt": given})
    runtime = TorchRuntime(model, tokenizer)
    codec, settings = runtime.codec("image"), ImageSamplingConfig(guidance=2.0, steps=STEPS)
    if kind == "uncached":
        return lambda: codec.pixels(_uncached(model, batch, settings))
    return lambda: codec.pixels(sample_tokens(runtime.image_decoder("image"), codec.grid, batch, settings))


@torch.inference_mode()
def _uncached(model: Model, batch: Batch, config: ImageSamplingConfig) -> np.ndarray:
    """Generate greedily without a cache: each token is predicted from all tokens before it."""
    decoder, grid = model.image_decoder("image"), model.codec("image").grid
    assert isinstance(decoder, RasterDecoder)
    fused = model(to_tensors(batch, torch.device("cpu")))
    without = model(to_tensors(Batch(batch.ids, {}), torch.device("cpu")))
    tokens = torch.full((batch.size, 1, 1), grid.codes)
    for _ in range(grid.length):
        own, alone = (decoder.logits(given, tokens)[:, :, -1] for given in (fused, without))
        tokens = torch.cat([tokens, (alone + config.guidance * (own - alone)).argmax(-1, keepdim=True)], 2)
    return tokens[:, 0, 1:].numpy()


if __name__ == "__main__":
    main()
