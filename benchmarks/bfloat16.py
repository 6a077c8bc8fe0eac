"""`small` on torch in bfloat16 and in float32: captions per second, and the loss of quality.

    python benchmarks/bfloat16.py --data flickr8k/captions.jsonl

One thread, both precisions in turn; then both caption the val photos with the model's own beam.
"""

import argparse
import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

import braid
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from captions_per_second import jpeg, measure, ours
from runs import report, say

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=300, help="photos of val")
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[Any]] = []
    sides = {precision: ours("torch", precision=precision) for precision in PRECISIONS}
    for batch in (1, 8, 32):
        for beams in (1, 4):
            say(f"{batch} photos, {beams} beams")
            rates = measure(sides, [jpeg(seed) for seed in range(batch)], beams, chosen.times)
            ratio = rates["bfloat16"] / rates["float32"]
            rows.append(
                [f"captions/s, {batch} photos, {beams} beams", *(f"{rate:.1f}" for rate in rates.values()), f"{ratio:.2f}"]
            )
    photos = open_dataset(chosen.data).split("val")[: chosen.limit]
    scores, texts = [], []
    for precision in PRECISIONS:
        say(f"captions in {precision}")
        model = braid.load("small", "torch", precision=precision)
        metrics, answers = evaluate(model.runtime, model.collator, model.task("captioning"), photos)
        scores.append(metrics["cider"])
        texts.append([one.text for one in answers.predictions])
    rows.append([f"CIDEr of {len(texts[0])} photos", *(f"{score:.2f}" for score in scores), f"{scores[1] - scores[0]:+.2f}"])
    equal = sum(map(str.__eq__, *texts)) / len(texts[0])
    how = f"One thread, torch {torch.__version__}, medians of {chosen.times}; {equal:.1%} of the captions are the same."
    report("bfloat16", "Captions in bfloat16", ["", *PRECISIONS, "ratio, or difference"], rows, how)


if __name__ == "__main__":
    main()
