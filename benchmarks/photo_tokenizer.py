"""Quality of photos after a codec, compared with TAEF2, a tiny autoencoder without discrete codes, at the same image size.

python benchmarks/photo_tokenizer.py runs/photo-tokenizer ../shared/data/flickr8k/captions.jsonl ../shared/data/weights/taef2
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from braid.api import LoadedModel, load
from braid.datasets import open_dataset
from braid.evaluation import Answers, evaluate
from braid.metrics import psnr, ssim
from braid.modalities import ImageModality
from braid.records import GeneratedImage, Prediction
from braid.search import fidelity
from braid.tasks import task_named
from runs import report, say

WIDTH, LATENTS = 64, 32
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run of the task reconstruction")
    parser.add_argument("data")
    parser.add_argument("taef2", type=Path, help="the folder of taef2_encoder.pth and taef2_decoder.pth")
    parser.add_argument("--split", default="val")
    parser.add_argument("--extractor", default="small")
    chosen = parser.parse_args()
    model, extractor = load(chosen.model), load(chosen.extractor)
    examples = open_dataset(chosen.data).split(chosen.split)
    say(f"{chosen.model} on {len(examples)} photos")
    metrics, answers = evaluate(model.runtime, model.collator, model.task("reconstruction"), examples, batch_size=BATCH)
    grid = model.runtime.codec("image").grid
    tokens = f"{grid.length} tokens of {grid.codes:,} codes: {grid.length * np.log2(grid.codes) / 8:,.0f} bytes"
    rows = [[Path(chosen.model).name, tokens, *_metrics(answers, extractor), metrics["code-use"], metrics["code-perplexity"]]]
    say("taef2")
    other = _through(model, answers, *_taef2(chosen.taef2))
    rows.append(
        ["taef2", f"{grid.length * LATENTS:,} numbers: {2 * grid.length * LATENTS:,} bytes", *_metrics(other, extractor), "", ""]
    )
    size = model.bundle.interface.outputs["image"].size  # type: ignore[union-attr]
    how = (
        f"{len(answers.samples):,} photos of Flickr8k's {chosen.split}, {size} x {size} pixels, squashed. PSNR in dB, SSIM x100, "
        f"means over photos; rFID x1000 by the embeddings of {chosen.extractor}, from as many photos; code use x100."
    )
    report(
        "photo_tokenizer",
        "Photos through a codec",
        ["codec", "stores", "PSNR", "SSIM", "rFID", "code use", "perplexity"],
        rows,
        how,
    )


def _metrics(answers: Answers, extractor: LoadedModel) -> list[float]:
    near = [one.metrics for one in answers.predictions]
    fid = fidelity(extractor.runtime, extractor.collator, task_named("reconstruction"), answers)["fid"]
    return [float(np.mean([one["psnr"] for one in near])), float(np.mean([one["ssim"] for one in near])), fid]


def _through(model: LoadedModel, answers: Answers, encoder: nn.Module, decoder: nn.Module) -> Answers:
    """The same photos, prepared in the same way, after the other autoencoder."""
    modality = model.bundle.outputs["image"]
    assert isinstance(modality, ImageModality)
    result: list[Prediction] = []
    for first in range(0, len(answers.samples), BATCH):
        samples = answers.samples[first : first + BATCH]
        values = modality.pad([modality.prepare(one.targets["image"], one.source) for one in samples]).values
        with torch.inference_mode():  # it takes 0..1
            made = decoder(encoder(torch.from_numpy((values + 1) / 2))).clamp(0, 1).numpy() * 2 - 1
        for sample, original, decoded in zip(samples, modality.images(values), modality.images(made), strict=True):
            near = {"psnr": psnr(original, decoded), "ssim": 100 * ssim(original, decoded)}
            result.append(Prediction(sample.id, image=GeneratedImage(decoded, np.zeros(0, np.int64), 1), metrics=near))
    return replace(answers, predictions=tuple(result))


def _taef2(folder: Path) -> tuple[nn.Module, nn.Module]:
    """TAEF2 by Ollin Boer Bohan, with the parameter names of its weight files."""
    halvings = [[nn.Conv2d(WIDTH, WIDTH, 3, 2, 1, bias=False), *_blocks(3, pooled=last)] for last in (False, False, True)]
    encoder = [nn.Conv2d(3, WIDTH, 3, padding=1), *_blocks(1), *chain(*halvings), nn.Conv2d(WIDTH, LATENTS, 3, padding=1)]
    doublings = [
        [*_blocks(3, pooled=first), nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
        for first in (True, False, False)
    ]
    decoder = [_Clamp(), nn.Conv2d(LATENTS, WIDTH, 3, padding=1), nn.ReLU(), *chain(*doublings), *_blocks(1)]
    parts = nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Conv2d(WIDTH, 3, 3, padding=1))
    for part, name in zip(parts, ("encoder", "decoder"), strict=True):
        weights = torch.load(folder / f"taef2_{name}.pth", map_location="cpu", weights_only=True)
        part.load_state_dict({key: value.float() for key, value in weights.items()})
    return parts


def _blocks(number: int, pooled: bool = False) -> Sequence[nn.Module]:
    return [_Block(pooled) for _ in range(number)]


class _Clamp(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return torch.tanh(values / 3) * 3


class _Block(nn.Module):
    """A residual block of three convolutions; with ``pooled``, a normalised branch comes first."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        first, second, third = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3))
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        wide = 4 * WIDTH
        pool = [nn.Conv2d(WIDTH, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.ReLU(), nn.Conv2d(wide, WIDTH, 1, bias=False)]
        self.pool = nn.Sequential(*pool) if pooled else None

    def forward(self, values: Tensor) -> Tensor:
        if self.pool is not None:
            values = values + self.pool(values)
        return torch.relu(self.conv(values) + values)


if __name__ == "__main__":
    main()
