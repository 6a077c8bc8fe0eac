"""Does a GPU give the same results as the CPU? Every kind of part, and a short training on both.

    PYTHONPATH=src:tests python benchmarks/on_gpu.py

The models are those of the contract tests, with weights of one seed. The difference is the largest difference of the outputs
before a softmax, relative to the largest output.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import test_image_generation
import test_vector_outputs
from braid.model import Model
from braid.records import Batch
from braid.runtime.device import find_device
from braid.runtime.torch import to_tensors
from braid.training import Watcher, run_from, train
from runs import report, say
from test_device import answer
from variants import IMAGE_DECODERS, VECTOR_DECODERS, build, collator, samples, variants

STEPS = 60
TRAINED = {
    "task": {"kind": "captioning", "prompt": "", "generation": {"max_length": 8}},
    "data": {"path": f"scenes:captioning,train={16 * STEPS},val=16"},
    "model": {
        "width": 64,
        "encoders": {"image": {"kind": "vit", "width": 64, "depth": 2, "heads": 4}},
        "fusion": {"kind": "transformer", "depth": 1, "heads": 4},
        "decoders": {"text": {"kind": "transformer", "width": 64, "depth": 2, "heads": 4}},
    },
    "inputs": {"image": {"kind": "image", "size": 64}},
    "tokenizer": {"vocab_size": 300},
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 10},
    "evaluation": {"limit": 16},
    "epochs": 1,
    "batch_size": 16,
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    gpu = find_device("cuda")
    rows: list[list[Any]] = []
    for kind, models in MODELS.items():
        result = {}
        for name, made in models.items():
            say(f"{kind}: {name}")
            result[name] = difference(*made(), gpu)
        worst = max(result, key=lambda name: result[name])
        rows.append([kind, len(result), f"{result[worst]:.1e}", worst])
    with tempfile.TemporaryDirectory() as home:
        for precision in ("float32", "bfloat16"):
            one, other = (losses(Path(home) / precision / device, device, precision) for device in ("cpu", "cuda"))
            differences = [abs(a - b) / a for a, b in zip(one, other, strict=True)]
            rows.append(
                [f"losses of {STEPS} steps, {precision}", 1, f"{max(differences):.1e}", f"{one[-1]:.4f}, {other[-1]:.4f}"]
            )
    how = f"{torch.cuda.get_device_name(gpu)} and the CPU, torch {torch.__version__}, float32 unless stated otherwise."
    report(
        "on_gpu", "The same results on a GPU", ["part", "models", "largest difference", "where, or the last losses"], rows, how
    )


@torch.inference_mode()
def difference(model: Model, batch: Batch, output: str, gpu: torch.device) -> float:
    """The largest difference, relative to the largest output."""
    given = [(place, to_tensors(batch, place)) for place in (torch.device("cpu"), gpu)]
    here, there = (answer(model.eval().to(place), tensors, output).float().cpu() for place, tensors in given)
    return float((here - there).abs().max() / here.abs().max())


def losses(folder: Path, device: str, precision: str) -> list[float]:
    result: list[float] = []
    settings = {**TRAINED, "device": device, "precision": precision}
    train(run_from(settings), folder, watcher=Watcher(on_step=lambda record: result.append(record["loss"])))
    return result


Made = Callable[[], tuple[Model, Batch, str]]


def writers() -> dict[str, Made]:
    def made(name: str) -> tuple[Model, Batch, str]:
        return build(variants()[name]), collator()(samples(), strict=True).batch, "text"

    return {name: lambda name=name: made(name) for name in variants()}  # type: ignore[misc]


def image_decoders() -> dict[str, Made]:
    def made(name: str) -> tuple[Model, Batch, str]:
        batch = test_image_generation.batch_of(test_image_generation.rows())
        return test_image_generation.built(test_image_generation.config_of(IMAGE_DECODERS[name])), batch, "image"

    return {name: lambda name=name: made(name) for name in IMAGE_DECODERS}  # type: ignore[misc]


def vectors() -> dict[str, Made]:
    def made(name: str) -> tuple[Model, Batch, str]:
        part = VECTOR_DECODERS[name]
        batch = test_vector_outputs.batch_of(part, test_vector_outputs.rows(part))
        return test_vector_outputs.built(part), batch, test_vector_outputs.OUT

    return {name: lambda name=name: made(name) for name in VECTOR_DECODERS}  # type: ignore[misc]


MODELS = {"writes text": writers(), "generates images": image_decoders(), "labels, numbers, embeddings": vectors()}

if __name__ == "__main__":
    main()
