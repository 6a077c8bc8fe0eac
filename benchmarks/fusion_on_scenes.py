"""Does fusion work? classic() and small() on scenes, and the same models with one input removed.

    python benchmarks/fusion_on_scenes.py                       both tasks, about 40 minutes on two cores
    python benchmarks/fusion_on_scenes.py --tasks vqa --epochs 2

A control is the same architecture without one encoder, trained on the same rows, with the same steps and seed. Every model is
first trained on captioning, then on questions, where it starts from the tokenizer, the image encoder (frozen) and the decoder of
its captioning run. classic() starts from random weights, small() from the frozen image encoder of the built-in model. Scores are
on the test and compositional splits, on which nothing was selected.
"""

import argparse
from pathlib import Path
from typing import Any

from braid.config import to_dict
from braid.presets import classic, small
from runs import report, scored, trained

INPUTS = {"image + text": ("image", "prompt"), "text only": ("prompt",), "image only": ("image",)}
DATA = {
    "captioning": "scenes:captioning,train={train},val=200,test=500,compositional=500,size=96,objects=2",
    "vqa": "scenes:vqa,train={train},val=400,test=1000,compositional=1000,size=96,objects=2",
}
METRIC = {"vqa": "accuracy", "captioning": "cider"}
ROWS = {"captioning": 6_000, "vqa": 20_000}


def settings(task: str, model: str, inputs: tuple[str, ...], train: int, epochs: int, seed: int, output: Path) -> dict[str, Any]:
    captioner = str(run_folder(output, "captioning", model, inputs) / "best")
    parts = ["decoders.text", *(["encoders.image", "projections.image"] if "image" in inputs else [])]
    first = {"encoders.image": "small"} if model == "small" and "image" in inputs else {}
    frozen = first if task == "captioning" else parts[1:2]
    return {
        "task": task,
        "data": {"path": DATA[task].format(train=train)},
        "model": to_dict((classic if model == "classic" else small)(inputs)),
        "initialize": first if task == "captioning" else dict.fromkeys(parts, captioner),
        "inputs": {
            "image": {"kind": "image", "size": 192 if model == "small" else 96},
            "prompt": {"kind": "text", "max_length": 64},
        },
        "tokenizer": {"vocab_size": 1000} if task == "captioning" else {"bundle": captioner},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 100, "scales": dict.fromkeys(frozen, 0)},
        "evaluation": {"limit": 400},
        "epochs": epochs,
        "batch_size": 64 if task == "vqa" else 32,
        "workers": 1,
        "threads": 1,
        "precision": "bfloat16",
        "objective": {"kind": "likelihood", "label_smoothing": 0.0},
        "seed": seed,
    }


def run_folder(output: Path, task: str, model: str, inputs: tuple[str, ...]) -> Path:
    return output / f"{task}-{model}-{'-'.join(inputs)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--models", nargs="+", default=["small", "classic"])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/fusion_on_scenes"))
    chosen = parser.parse_args()
    how = (
        f"Scenes of 96 x 96 pixels with one or two objects, seed {chosen.seed}; {chosen.epochs} epoch(s) of {ROWS['vqa']:,} "
        f"questions (4 per image) or {ROWS['captioning']:,} images with 5 captions each; greedy; tokenizer of the metrics ptb; "
        "1,000 test questions, 500 test images, and as many with colour-shape pairs that training does not have. Minutes are "
        "for one core of a busy machine."
    )
    columns = ["task", "model", "inputs", "metric", "test", "unseen pairs", "parameters", "minutes"]
    rows = []
    for task in chosen.tasks:
        for model in chosen.models:
            for name, inputs in INPUTS.items():
                config = settings(task, model, inputs, ROWS[task], chosen.epochs, chosen.seed, chosen.output)
                run = trained(config, run_folder(chosen.output, task, model, inputs))
                test, unseen = (scored(run.folder, task, config["data"]["path"], split) for split in ("test", "compositional"))
                size = f"{run.parameters / 1e6:.1f} M"
                rows.append([task, model, name, METRIC[task], test[METRIC[task]], unseen[METRIC[task]], size, run.minutes])
                report("fusion_on_scenes", "Fusion on scenes", columns, rows, how)


if __name__ == "__main__":
    main()
