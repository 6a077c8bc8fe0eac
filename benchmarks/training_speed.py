"""How fast does a captioner train? Braid beside a VisionEncoderDecoder of Hugging Face, of the same size, under its Trainer.

    python benchmarks/training_speed.py --data flickr8k/captions.jsonl

Both see the same photos through the same preprocessing and tokenizer: a ViT of 224 / 16 patches and a transformer decoder with
cross-attention, five captions a photo. A batch of Braid's is a few photos with all their captions; Hugging Face's has as many
captions, a row each. Both run in this process in turn, in bfloat16; a step is the time from one to the next,
evaluation and saving left out, and the first two of each turn are left out, too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from braid.datasets import open_dataset
from braid.modalities import ImageModality, ImageModalityConfig, Tokenizer
from braid.training import Watcher, run_from, train
from runs import report, say

PHOTOS, CAPTIONS, WIDTH, HEADS, VOCABULARY, LONGEST = 8, 5, 384, 6, 6000, 40
WARM, STEPS = 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--depth", type=int, default=4, help="of encoder and decoder")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows = open_dataset(chosen.data).split("train")[: PHOTOS * (WARM + STEPS)]
    tokenizer = Tokenizer.train([text for row in rows for text in row.fields["captions"]], VOCABULARY)
    other = vision_encoder_decoder(chosen.depth, tokenizer.vocab_size)
    seconds: dict[str, list[float]] = {"Braid": [], "Hugging Face": []}
    shares, sizes = [], {"Hugging Face": sum(p.numel() for p in other.parameters())}
    with tempfile.TemporaryDirectory() as home:
        pairs = Pairs(rows, tokenizer)
        for turn in range(chosen.turns):
            say(f"turn {turn + 1} of {chosen.turns}")
            spent, share, sizes["Braid"] = of_braid(chosen.data, chosen.depth, chosen.threads, Path(home) / str(turn))
            shares.append(share)
            seconds["Braid"].append(spent)
            seconds["Hugging Face"].append(of_trainer(other, pairs, Path(home) / "hf"))
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    table = [
        [name, f"{sizes[name] / 1e6:.1f}", f"{PHOTOS * CAPTIONS / statistics.median(spent):.1f}", told]
        for (name, spent), told in zip(seconds.items(), (f"{statistics.median(shares):.0%}", ""), strict=True)
    ]
    how = (
        f"Width {WIDTH}, depth {chosen.depth} and {chosen.depth}, {PHOTOS} photos with {CAPTIONS} captions a step, bfloat16, "
        f"{chosen.threads} thread(s), one worker process; median of {chosen.turns} turns. **Braid is {ratio:.2f} times as "
        "fast** (the median of the turns' ratios). The peak is that of a matrix product in bfloat16, measured after each turn; "
        "attention's inner products do not count as arithmetic."
    )
    columns = ["trainer", "M parameters", "captions a second", "share of the bfloat16 peak, forward and backward"]
    report("training_speed", "Speed of training", columns, table, how)


def of_braid(data: str, depth: int, threads: int, folder: Path) -> tuple[float, float, int]:
    """Median seconds of a step, the share of the peak, and the number of parameters."""
    layers = {"width": WIDTH, "depth": depth, "heads": HEADS}
    settings = {
        "task": {"kind": "captioning", "prompt": "", "generation": {"max_length": 8}},
        "data": {"path": data, "limit_train": PHOTOS * (WARM + STEPS), "limit_val": 1},
        "model": {
            "width": WIDTH,
            "encoders": {"image": {"kind": "vit", **layers}},
            "fusion": {"kind": "concat", "over": "sequences"},
            "decoders": {"text": {"kind": "transformer", **layers}},
        },
        "tokenizer": {"vocab_size": VOCABULARY},
        "objective": {"kind": "likelihood", "label_smoothing": 0.0},
        "evaluation": {"limit": 1},
        "batch_size": PHOTOS,
        "epochs": 1,
        "threads": threads,
        "precision": "bfloat16",
    }
    spent: list[float] = []
    sizes: list[int] = []
    watcher = Watcher(lambda estimate: sizes.append(estimate.parameters), lambda record: spent.append(record["seconds"]))
    profile = train(run_from(settings), folder, watcher=watcher, profiled=True).profile
    assert profile is not None
    return statistics.median(spent[WARM:]), profile.share_of_peak, sizes[0]


class Pairs(torch.utils.data.Dataset[dict[str, Any]]):
    """A row a caption, as Trainer is fed."""

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


def vision_encoder_decoder(depth: int, vocabulary: int) -> transformers.VisionEncoderDecoderModel:
    encoder = transformers.ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=depth, num_attention_heads=HEADS, intermediate_size=4 * WIDTH
    )
    decoder = transformers.GPT2Config(
        is_decoder=True,
        vocab_size=vocabulary,
        n_positions=LONGEST,
        n_embd=WIDTH,
        n_layer=depth,
        n_head=HEADS,
        add_cross_attention=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.VisionEncoderDecoderModel(config=config)
    model.config.decoder_start_token_id, model.config.pad_token_id = 0, 0
    return model


class Times(transformers.TrainerCallback):
    """The moments at which steps end."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.moments.append(time.perf_counter())


def of_trainer(model: transformers.VisionEncoderDecoderModel, pairs: Pairs, folder: Path) -> float:
    times = Times()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=PHOTOS * CAPTIONS,
        num_train_epochs=1,
        dataloader_num_workers=1,
        bf16=True,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=pairs, data_collator=together, callbacks=[times])
    trainer.train()
    return statistics.median(np.diff(times.moments)[WARM - 1 :])


if __name__ == "__main__":
    main()
