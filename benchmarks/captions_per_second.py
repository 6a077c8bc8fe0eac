"""Captions per second, from JPEG bytes: `small` on ONNX Runtime and on torch, and a Hugging Face VisionEncoderDecoder of its
size.

    python benchmarks/captions_per_second.py
    python benchmarks/captions_per_second.py --device cuda --batches 1 8 32 256

All run in one process, in turn, with one thread and the same number of tokens; on a GPU only torch and Hugging Face. The decoder
layers have the same sizes, but the image encoders differ (EfficientNet-Lite2 at 256 pixels, ViT at 224), so this compares whole
models of one size, not kernels.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from PIL import Image
from transformers import VisionEncoderDecoderModel

import braid
from braid.generation import GenerationConfig
from braid.records import Example
from braid.runtime.device import CPU, find_device
from cold_start import TOKENS, build

Caption = Callable[[Sequence[bytes], int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--device", default="cpu", help="of torch and Hugging Face: cpu or cuda")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    device = find_device(chosen.device)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        sides = {"onnx": ours("onnx")} if device.type == "cpu" else {}
        sides |= {"torch": ours("torch", device=chosen.device), "Hugging Face": theirs(Path(folder), device)}
        first, *others = sides
        heads = ["batch", "beams", *(f"{name}, captions/s" for name in sides), *(f"{first} / {name}" for name in others)]
        print("| " + " | ".join(heads) + " |")
        print("|" + "---|" * len(heads))
        for batch in chosen.batches:
            for beams in (1, 4):
                rates = measure(sides, [jpeg(seed) for seed in range(batch)], beams, chosen.times)
                cells = [f"{rate:.1f}" for rate in rates.values()]
                ratios = [f"{rates[first] / rates[name]:.2f}" for name in others]
                print("| " + " | ".join([str(batch), str(beams), *cells, *ratios]) + " |", flush=True)


def measure(sides: dict[str, Caption], photos: list[bytes], beams: int, times: int) -> dict[str, float]:
    """Captions per second of each side: the median of alternating runs, after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(times + 1):
        for name, caption in sides.items():
            start = perf_counter()
            caption(photos, beams)
            seconds[name].append(perf_counter() - start)
    return {name: len(photos) / median(taken[1:]) for name, taken in seconds.items()}


def ours(runtime: str, name: str = "small", device: str = "cpu", precision: str = "float32") -> Caption:
    model = braid.load(name, runtime, device=device, precision=precision)

    def caption(photos: Sequence[bytes], beams: int) -> None:
        config = GenerationConfig("greedy" if beams == 1 else "beam", beams, min_length=TOKENS, max_length=TOKENS)
        task = model.task("captioning")
        samples = [task.prepare(Example(str(row), {"image": photo})) for row, photo in enumerate(photos)]
        model.runtime.write("text", model.collator(samples).batch, config)

    return caption


def theirs(folder: Path, device: torch.device = CPU) -> Caption:
    model = VisionEncoderDecoderModel.from_pretrained(folder, dtype=torch.float32).eval().to(device)

    @torch.inference_mode()
    def caption(photos: Sequence[bytes], beams: int) -> None:
        images = [np.asarray(Image.open(BytesIO(photo)).resize((224, 224)), dtype=np.float32) for photo in photos]
        pixels = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2) / 255)
        model.generate(pixels.to(device), min_new_tokens=TOKENS, max_new_tokens=TOKENS, num_beams=beams, do_sample=False).cpu()

    return caption


def jpeg(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
    written = BytesIO()
    Image.fromarray(noise).resize((640, 480)).save(written, format="JPEG")
    return written.getvalue()


if __name__ == "__main__":
    main()
