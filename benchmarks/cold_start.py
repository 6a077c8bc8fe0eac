"""A cold `braid caption photo.jpg`, and a script that loads a Hugging Face VisionEncoderDecoder of the same size.

Both are new processes, in turn, with one thread, the same number of tokens and the same number of beams. A first run, which does
not count, compiles the imports. The Hugging Face weights are random and in half precision, as Braid's are; the script prepares
the photo with Pillow and numpy, which is the fastest way.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from PIL import Image

TOKENS, BEAMS = 12, 3
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "",  # compiled once, as on a second start
}
SCRIPT = f"""
import sys
import numpy as np, torch
from PIL import Image
from transformers import VisionEncoderDecoderModel
model = VisionEncoderDecoderModel.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
photo = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize((224, 224)), dtype=np.float32).transpose(2, 0, 1)[None] / 255
with torch.inference_mode():
    model.generate(torch.from_numpy(photo), min_new_tokens={TOKENS}, max_new_tokens={TOKENS}, num_beams={BEAMS}, do_sample=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        photo, model = Path(folder) / "photo.jpg", Path(folder) / "model"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)).resize((640, 480)).save(photo)
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # a child's peak memory begins with its parent's
            print(f"Hugging Face model: {apart.submit(build, model).result() / 1e6:.1f} M parameters", flush=True)
        sides = {
            "braid caption": [sys.executable, "-m", "braid", "caption", str(photo)],
            "Hugging Face": [sys.executable, "-c", SCRIPT, str(model), str(photo)],
            "braid --help": [sys.executable, "-m", "braid", "--help"],
        }
        measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
        for _ in range(times + 1):
            for name, command in sides.items():
                measured[name].append(timed(command))
    metrics = {name: [median(column) for column in zip(*runs[1:], strict=True)] for name, runs in measured.items()}  # warm files
    print("| | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|")
    for name, (wall, cpu, memory) in metrics.items():
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |")
    ours, theirs = metrics["braid caption"], metrics["Hugging Face"]
    print("| ratio | " + " | ".join(f"1/{their / own:.1f}" for own, their in zip(ours, theirs, strict=True)) + " |")


def timed(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak megabytes of one process."""
    start = perf_counter()
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


def build(folder: Path) -> int:
    """Save a ViT and a GPT-2 decoder with random weights, together of the size of `small`, and return their number of
    parameters."""
    import torch
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    sizes = {"hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 5, "intermediate_size": 1280}
    decoder = GPT2Config(vocab_size=8000, n_embd=384, n_layer=3, n_head=6, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**sizes), decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    model = VisionEncoderDecoderModel(config)
    model.to(torch.float16).save_pretrained(folder)
    return sum(value.numel() for value in model.parameters())


if __name__ == "__main__":
    main()
