"""Training speed of a captioner: Braid, and a Hugging Face VisionEncoderDecoder of the same size with Trainer.

    python benchmarks/training_speed.py --data flickr8k/captions.jsonl
    python benchmarks/training_speed.py --data flickr8k/captions.jsonl --width 768 --depth 12 --photos 64 --steps 20 --workers 12

Both use a GPU if there is one, the same photos, preprocessing and tokenizer, a ViT with 224 / 16 patches, a transformer decoder
with cross-attention, five captions per photo, and the dropout of Hugging Face: 0.1 in the decoder, none in the ViT. A batch of
Braid is a few photos with all their captions; a batch of Hugging Face has the same number of captions, one per row. Both run in
this process in turn, in bfloat16. The time of a step is measured from one step to the next, without evaluation and saving; the
first steps of each turn do not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from braid.datasets import open_dataset
from braid.modalities import ImageModality, ImageModalityConfig, Tokenizer
from braid.runtime.device import find_device, finish
from braid.training import Watcher, run_from, train
from runs import report, say

CAPTIONS, HEAD, VOCABULARY, LONGEST = 5, 64, 6000, 40


@dataclass(frozen=True)
class Work:
    """The work of both sides."""

    data: str
    photos: int  # per batch
    width: int
    depth: int  # of encoder and decoder
    warm: int  # steps that do not count
    steps: int
    threads: int
    workers: int

    @property
    def rows(self) -> int:
        return self.photos * (self.warm + self.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--photos", type=int, default=8, help="photos per batch")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=4, help="layers of encoder and decoder")
    parser.add_argument("--warm", type=int, default=2, help="warm-up steps of a turn")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    chosen = vars(parser.parse_args())
    turns = chosen.pop("turns")
    work = Work(**chosen)
    torch.set_num_threads(work.threads)
    rows = open_dataset(work.data).split("train")[: work.rows]
    tokenizer = Tokenizer.train([text for row in rows for text in row.fields["captions"]], VOCABULARY)
    other = vision_encoder_decoder(work, tokenizer.vocab_size)
    seconds: dict[str, list[float]] = {"Braid": [], "Hugging Face": []}
    shares, sizes = [], {"Hugging Face": sum(p.numel() for p in other.parameters())}
    with tempfile.TemporaryDirectory() as home:
        pairs = Pairs(rows, tokenizer)
        for turn in range(turns):
            say(f"turn {turn + 1} of {turns}")
            spent, share, sizes["Braid"] = of_braid(work, Path(home) / str(turn))
            shares.append(share)
            seconds["Braid"].append(spent)
            seconds["Hugging Face"].append(of_trainer(other, pairs, work, Path(home) / "hf"))
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    table = [
        [name, f"{sizes[name] / 1e6:.1f}", f"{work.photos * CAPTIONS / statistics.median(spent):.1f}", share]
        for (name, spent), share in zip(seconds.items(), (f"{statistics.median(shares):.0%}", ""), strict=True)
    ]
    device = find_device()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{work.threads} thread(s)"
    how = (
        f"Width {work.width}, depth {work.depth} and {work.depth}, {work.photos} photos with {CAPTIONS} captions a step, "
        f"bfloat16, {where}, {work.workers} worker process(es), torch {torch.__version__}; median of {turns} turns of "
        f"{work.steps} steps. "
        f"**Braid is {ratio:.2f} times as fast** (the median of the turns' ratios). The peak is that of a matrix product in "
        "bfloat16, measured after each turn; attention's inner products do not count as arithmetic."
    )
    columns = ["trainer", "M parameters", "captions per second", "share of the bfloat16 peak, forward and backward"]
    report("training_speed" + f"_on_{device.type}" * (device.type != "cpu"), "Speed of training", columns, table, how)


def of_braid(work: Work, folder: Path) -> tuple[float, float, int]:
    """Mean seconds of a step, the share of the peak, and the number of parameters."""
    layers = {"width": work.width, "depth": work.depth, "heads": work.width // HEAD}
    settings = {
        "task": {"kind": "captioning", "prompt": "", "generation": {"max_length": 8}},
        "data": {"path": work.data, "limit_train": work.rows, "limit_val": 1},
        "model": {
            "width": work.width,
            "encoders": {"image": {"kind": "vit", **layers, "dropout": 0.0}},
            "fusion": {"kind": "concat", "mode": "sequences"},
            "decoders": {"text": {"kind": "transformer", **layers}},
        },
        "tokenizer": {"vocab_size": VOCABULARY},
        "objective": {"kind": "likelihood", "label_smoothing": 0.0},
        "evaluation": {"limit": 1},
        "batch_size": work.photos,
        "epochs": 1,
        "threads": work.threads,
        "workers": work.workers,
        "precision": "bfloat16",
    }
    spent: list[float] = []
    sizes: list[int] = []
    watcher = Watcher(lambda estimate: sizes.append(estimate.parameters), lambda record: spent.append(record["seconds"]))
    profile = train(run_from(settings), folder, watcher=watcher, profiled=True).profile
    assert profile is not None
    return statistics.fmean(spent[work.warm :]), profile.share_of_peak, sizes[0]


class Pairs(torch.utils.data.Dataset[dict[str, Any]]):
    """One row per caption, for Trainer."""

    def __init__(self, rows: Sequence[Any], tokenizer: Tokenizer) -> None:
        self.pairs = [(row.fields["image"], caption) for row in rows for caption in row.fields["captions"][:CAPTIONS]]
        self.modality: ImageModality = ImageModalityConfig().build()
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> dict[str, Any]:
        image, caption = self.pairs[k]
        special = self.tokenizer.special
        tokens = [*self.tokenizer.encode(caption)[: LONGEST - 1], special.eos]
        return {"pixel_values": self.modality.pad([self.modality.prepare(image)]).values[0], "labels": tokens}


def together(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["labels"]) for row in rows)
    labels = torch.tensor([row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows])
    return {"pixel_values": torch.from_numpy(np.stack([row["pixel_values"] for row in rows])), "labels": labels}


def vision_encoder_decoder(work: Work, vocabulary: int) -> transformers.VisionEncoderDecoderModel:
    heads = work.width // HEAD
    encoder = transformers.ViTConfig(
        hidden_size=work.width, num_hidden_layers=work.depth, num_attention_heads=heads, intermediate_size=4 * work.width
    )
    decoder = transformers.GPT2Config(
        is_decoder=True,
        vocab_size=vocabulary,
        n_positions=LONGEST,
        n_embd=work.width,
        n_layer=work.depth,
        n_head=heads,
        add_cross_attention=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.VisionEncoderDecoderModel(config=config)
    model.config.decoder_start_token_id, model.config.pad_token_id = 0, 0
    return model


class Times(transformers.TrainerCallback):
    """The times at which steps end, after the device has finished, because Braid's loop also waits for each loss."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        finish(find_device())
        self.moments.append(time.perf_counter())


def of_trainer(model: transformers.VisionEncoderDecoderModel, pairs: Pairs, work: Work, folder: Path) -> float:
    times = Times()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=work.photos * CAPTIONS,
        num_train_epochs=1,
        dataloader_num_workers=work.workers,
        bf16=True,
        use_cpu=find_device().type == "cpu",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=pairs, data_collator=together, callbacks=[times])
    trainer.train()
    return statistics.fmean(np.diff(times.moments)[work.warm - 1 :])


if __name__ == "__main__":
    main()
