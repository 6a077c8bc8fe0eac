"""Kill a training run again and again, resume it, and compare its end with that of a run never stopped.

    python tests/kill_resume.py                 20 kills with kill -9, 2 workers, 4 epochs; about 3 minutes on two cores
    python tests/kill_resume.py --kills 5 --seed 1

A moment is a step, drawn at random, and up to twice a step's time after it: within a step, a checkpoint or an evaluation.
``tests/test_training.py`` does the same with five kills.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file

# Everything is on that draws a random number or keeps a state.
RUN: dict[str, Any] = {
    "task": {"kind": "captioning", "generation": {"max_length": 12}},
    "data": {"path": "scenes:captioning,train=96,val=8,test=1,compositional=1,size=32"},
    "model": "tiny",
    "inputs": {
        "image": {"kind": "image", "size": 32, "augmentation": {"horizontal_flip": 0.5, "crop_scale": [0.6, 1.0]}},
        "prompt": {"kind": "text", "max_length": 16},
    },
    "tokenizer": {"vocab_size": 300},
    "optimizer": {"learning_rate": 2e-3, "accumulation": 2},
    "evaluation": {"limit": 8},
    "input_dropout": {"image": 0.2},
    "ema": 0.9,
    "epochs": 4,
    "batch_size": 8,
    "workers": 2,
    "threads": 1,
    "checkpoint_steps": 2,
}


@dataclass(frozen=True)
class Kill:
    """One kill: the step asked for, the last that was logged by then, and its epoch."""

    moment: int
    step: int
    epoch: int


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "braid", "train", str(folder.parent / "run.yaml"), "--output", str(folder), "--resume"]


def run_whole(home: Path, settings: dict[str, Any]) -> Path:
    """The run that nobody disturbs, in ``home/whole``."""
    (home / "run.yaml").write_text(yaml.safe_dump(settings))
    subprocess.run(command(home / "whole"), check=True, capture_output=True)
    return home / "whole"


def run_killed(home: Path, kills: int, rng: random.Random) -> tuple[Path, list[Kill]]:
    """The same run in ``home/killed``, killed ``kills`` times before its end, then left to end."""
    folder = home / "killed"
    message = []
    records = [json.loads(line) for line in (home / "whole" / "log.jsonl").read_text().splitlines()]
    steps = records[-1]["step"]
    seconds = [record["seconds_left"] / (steps - record["step"]) for record in records if record.get("seconds_left")]
    for moment in sorted(rng.choices(range(1, steps - 2), k=kills)):
        process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and last(folder).get("step", 0) < moment:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 2 * statistics.median(seconds)))
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        message.append(Kill(moment, last(folder).get("step", 0), last(folder).get("epoch", 0)))
    subprocess.run(command(folder), check=True, capture_output=True)
    return folder, message


def last(folder: Path) -> dict[str, Any]:
    """The last whole record of the log."""
    try:
        lines = (folder / "log.jsonl").read_text().split("\n")[:-1]
        return dict(json.loads(lines[-1])) if lines else {}
    except (OSError, ValueError):  # not there yet, or half written
        return {}


def log(folder: Path) -> list[dict[str, Any]]:
    """Every record, without what a clock measured."""
    clocks = ("seconds", "samples_per_second", "seconds_left")
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in clocks} for record in records]


def weights_differ(one: Path, other: Path) -> list[str]:
    """Names of the tensors of two runs that are not bit-equal: both bundles, and the checkpoint with its moments."""
    result = []
    for file in ("best/model.safetensors", "last/model.safetensors", "checkpoint.safetensors"):
        first, second = load_file(one / file), load_file(other / file)
        names = sorted(first.keys() | second.keys())
        result += [f"{file}: {n}" for n in names if n not in first or n not in second or not np.array_equal(first[n], second[n])]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        whole = run_whole(Path(place), RUN)
        steps = log(whole)[-1]["step"]
        killed, message = run_killed(Path(place), chosen.kills, random.Random(chosen.seed))
        for number, kill in enumerate(message, 1):
            print(f"kill {number:2}: asked for after step {kill.moment:2}, came after step {kill.step:2}, epoch {kill.epoch + 1}")
        differing, same_log = weights_differ(whole, killed), log(whole) == log(killed)
        left = sorted(file.name for file in killed.iterdir())
    epochs = len({kill.epoch for kill in message})
    print(f"{chosen.kills} kills in {epochs} of {RUN['epochs']} epochs, {RUN['workers']} workers, {steps} steps in all")
    print(f"files at the end: {', '.join(left)}")
    print(f"log equal to that of the run never stopped: {same_log}")
    print(f"tensors that differ: {len(differing)} {differing[:3] or ''}")
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(bool(differing) or not same_log)


if __name__ == "__main__":
    main()
