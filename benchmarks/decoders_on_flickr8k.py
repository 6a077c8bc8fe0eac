"""classic() and small() on real photos, with the same image encoder, rows and number of steps.

    python benchmarks/decoders_on_flickr8k.py --data FOLDER/captions.jsonl --weights FOLDER      about 25 minutes on two cores

``--weights`` is a MobileNetV2 file or folder with folded batch norm; both models start from it, with all other weights random.
"""

import argparse
from pathlib import Path
from typing import Any

from braid.config import to_dict
from braid.encoders import MobileNetEncoderConfig
from braid.model import ModelConfig
from braid.presets import classic, small
from runs import report, scored, trained

METRICS = ("bleu-4", "rouge-l", "cider", "cider-2015", "meteor-exact-stem")


def settings(model: ModelConfig, data: str, weights: str, epochs: int, seed: int) -> dict[str, Any]:
    return {
        "task": "captioning",
        "data": {"path": data},
        "model": to_dict(model),
        "initialize": {"encoders.image": weights},
        "inputs": {
            "image": {"kind": "image", "augmentation": {"horizontal_flip": 0.5, "crop_scale": [0.6, 1.0]}},
            "prompt": {"kind": "text"},
        },
        "optimizer": {"learning_rate": 5e-4, "warmup_steps": 200, "scales": {"encoders.image": 0}},
        "evaluation": {"limit": 200},
        "epochs": epochs,
        "workers": 1,
        "precision": "bfloat16",
        "ema": 0.995,
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/decoders_on_flickr8k"))
    chosen = parser.parse_args()
    encoder = MobileNetEncoderConfig(padding="tensorflow", folded=True)
    rows = []
    for name, model in (("classic", classic(image=encoder)), ("small", small(image=encoder))):
        run = trained(settings(model, chosen.data, chosen.weights, chosen.epochs, chosen.seed), chosen.output / name)
        metrics = scored(run.folder, "captioning", chosen.data, "val", beam=3)
        rows.append([name, *(metrics[metric] for metric in METRICS), f"{run.parameters / 1e6:.1f} M", run.minutes])
    how = (
        f"Flickr8k, 6,000 training photos, {chosen.epochs} epochs, image encoder frozen, seed {chosen.seed}; scored on the 1,000 "
        "val photos, beam 3, tokenizer ptb. 200 of those photos chose the best epoch."
    )
    report("decoders_on_flickr8k", "classic() and small() on Flickr8k", ["model", *METRICS, "parameters", "minutes"], rows, how)


if __name__ == "__main__":
    main()
