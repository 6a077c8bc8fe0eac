"""Memory of one training process: alone, one of two, and one of two with a sharded model (``sharded: true``).

    python benchmarks/memory_of_sharding.py             a few minutes of two cores

A transformer captioner of 37 M parameters trains on generated scenes of 32 pixels, batch 4, on the CPU. After the last step the
first process sums the bytes of its parameters, gradients and AdamW moments, and reads its memory (PSS, which divides shared pages
between processes) and its peak memory (the high-water mark of resident memory, start-up included).
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braid.training import Watcher, run_from, train
from runs import report, say

WIDE = {"width": 512, "depth": 4, "heads": 8}
KINDS = {"one process": (1, False), "one of two": (2, False), "one of two, sharded": (2, True)}


def measure(steps: int, sharded: bool, output: Path) -> None:
    """Train for ``steps`` steps, write the memory of this process to a file, and exit."""
    settings = {
        "task": "captioning",
        "data": {"path": "scenes:captioning,train=64,val=2,test=1,compositional=1,size=32"},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
        "tokenizer": {"vocab_size": 300},
        "epochs": 1,
        "batch_size": 4,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
        "sharded": sharded,
    }
    wide = [f"model.{part}.{name}={size}" for part in ("encoders.image", "decoders.text") for name, size in WIDE.items()]
    config = run_from(settings, [*wide, "model.width=512", "model.fusion.heads=8"])
    seconds: list[float] = []

    def look(record: dict[str, Any]) -> None:
        seconds.append(record["seconds"])
        if record["step"] == steps:
            spent = statistics.median(seconds[1:])
            (output / "memory.json").write_text(json.dumps({**held(), **memory(), "seconds": spent, "loss": record["loss"]}))
            os._exit(0)

    train(config, output / "run", watcher=Watcher(on_step=look))


def held() -> dict[str, int]:
    """Bytes of this process's own parameters, gradients and moments."""
    (optimizer,) = [one for one in gc.get_objects() if isinstance(one, torch.optim.AdamW)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        "parameters": sum(map(own, parameters)),
        "gradients": sum(own(one.grad) for one in parameters if one.grad is not None),
        "moments": sum(own(value) for one in parameters for value in optimizer.state[one].values()),
    }


def own(tensor: Tensor) -> int:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.numel() * local.element_size()


def memory() -> dict[str, int]:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # return freed memory to the system
    fields = [line.split() for file in ("smaps_rollup", "status") for line in Path(f"/proc/self/{file}").read_text().splitlines()]
    result = {line[0]: int(line[1]) * 1024 for line in fields if line and line[0] in ("Pss:", "VmHWM:")}
    return {"pss": result["Pss:"], "most": result["VmHWM:"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sharded", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.output:
        measure(chosen.steps, chosen.sharded, chosen.output)
        return
    rows: list[list[object]] = []
    for name, (processes, sharded) in KINDS.items():
        say(name)
        with tempfile.TemporaryDirectory(prefix="braid-sharding-") as home:
            started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
            arguments = [__file__, "--steps", str(chosen.steps), "--output", home, *(["--sharded"] if sharded else [])]
            subprocess.run([sys.executable, *started, *arguments], stderr=subprocess.DEVNULL)
            result = json.loads((Path(home) / "memory.json").read_text())
        sizes = [result[part] / 1e6 for part in ("parameters", "gradients", "moments", "pss", "most")]
        rows.append([name, *sizes, f"{result['seconds']:.2f}", f"{result['loss']:.4f}"])
    columns = ["", "parameters, MB", "gradients, MB", "moments, MB", "memory, MB", "peak, MB", "seconds per step", "loss"]
    how = (
        f"A captioner of transformers {WIDE['width']} wide on scenes of 32 pixels, batch 4, float32, gloo, one thread a process, "
        f"after {chosen.steps} steps. Memory is the process's PSS after freed memory is returned; peak is its "
        "high-water mark, start-up included."
    )
    report("memory_of_sharding", "Memory of a process, sharded and not", columns, rows, how)


if __name__ == "__main__":
    main()
