"""One cell with one seed: a normal run folder, with ``scores.json`` after the run is scored."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import yaml

from braid.bundle import find_bundle, read_bundle
from braid.collate import Collator
from braid.config import flat, from_dict, json_text, to_dict
from braid.errors import UserError
from braid.evaluation import evaluate
from braid.files import read_json, write_whole
from braid.generation import Runtime
from braid.records import Example, Sample
from braid.reports import describe, read_run_folder
from braid.runtime.torch import TorchRuntime, load_model
from braid.tasks import Task, task_of
from braid.training import RunConfig, read_run, write_run

FILE = "scores.json"
WARM_UP, TIMED = 3, 30  # rows that are answered one by one


@dataclass(frozen=True)
class Scores:
    """A scored run. ``metrics`` are the task's on ``split``, the one that is a mean over rows first; ``items`` are its rows.

    ``latency_ms``: median time from a prepared row to its answer, with batch size 1. ``training_seconds``: sum over all steps.
    ``memory_bytes``: peak memory of the largest training process.
    """

    split: str
    metrics: dict[str, float]
    ids: tuple[str, ...]
    items: tuple[float, ...]
    latency_ms: float
    parameters: int
    training_seconds: float
    memory_bytes: int


def begin(run: RunConfig, folder: Path) -> None:
    """Write the run's settings, if they are not there yet.

    Raises:
        UserError: when the folder has a run with other settings.
    """
    if not (folder / "run.yaml").exists():
        write_run(run, folder / "run.yaml")
        return
    there, given = (flat(yaml.safe_load(yaml.safe_dump(to_dict(one)))) for one in (read_run(folder / "run.yaml"), run))
    fitted = ("epochs",) if run.time else ()  # the run writes how many fit into its time
    other = next((name for name in there | given if there.get(name) != given.get(name) and name not in fitted), "")
    if other:
        raise UserError(f"{folder} holds a run with another {other}; give the comparison another --output, or remove that folder")


def scored(run: RunConfig, folder: Path, examples: Sequence[Example], split: str, lock: int) -> Scores:
    """Train the run, or continue it, and score its best model; finished work is not repeated.

    Raises:
        UserError: when it cannot be trained or scored, with the reason.
    """
    if (folder / FILE).is_file():
        result: Scores = from_dict(Scores, read_json(folder / FILE, "remove it"), str(folder / FILE))
        if result.split == split:
            return result
    memory = train(folder, lock)
    scores = score(run, folder, examples, split, memory)
    write_whole(folder / FILE, json_text(to_dict(scores)) + "\n")
    return scores


def train(folder: Path, lock: int) -> int:
    """Run ``braid train`` in its own process, and return its peak memory in bytes.

    The process keeps ``lock`` until it ends, even if its caller is killed, so no other process works on its run.

    Raises:
        UserError: when the process fails, with the last line that it printed.
    """
    verb = ["train", str(folder / "run.yaml"), "--resume", "--no-measure"]  # ``score`` measures it
    command = [sys.executable, "-m", "braid.comparison", str(os.getpid()), *verb]
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
    with tempfile.TemporaryFile() as message:
        # A separate session: a terminal's Ctrl-C reaches it only once, through this process.
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=message, env=environment, pass_fds=(lock,), start_new_session=True
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            message.seek(0)
            raise UserError(_reason(process.returncode, message.read().decode(errors="replace")))
    return usage.ru_maxrss * 1024


def _reason(code: int, message: str) -> str:
    if code < 0:
        return f"its training was ended by signal {-code}; if nobody sent it, memory ran out"
    lines = [line for line in message.split("\n") if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"its training ended with code {code}"


def score(run: RunConfig, folder: Path, examples: Sequence[Example], split: str, memory: int) -> Scores:
    """Score the run's best model on ``examples``, with the run's task settings."""
    torch.set_num_threads(run.threads)
    bundle = read_bundle(find_bundle(folder))
    runtime, collator = TorchRuntime(load_model(bundle), bundle.tokenizer), Collator(bundle.inputs, bundle.outputs)
    task = task_of(bundle.interface, run.task.kind)
    metrics, answers = evaluate(runtime, collator, task, examples, run.evaluation.tokenizer, run.evaluation.batch_size)
    items = task.items(answers.predictions, answers.samples)
    if not np.isfinite(items).all():
        raise UserError(
            f"{task.per_sample_metric} is not a number on {np.sum(~np.isfinite(items))} rows; lower its learning rate"
        )
    return Scores(
        split,
        {
            task.per_sample_metric: float(items.mean()),
            **{name: value for name, value in metrics.items() if name != "num_samples" and math.isfinite(value)},
        },
        tuple(sample.id for sample in answers.samples),
        tuple(items.tolist()),
        _latency(runtime, collator, task, answers.samples),
        describe(folder).parameters,
        sum(step["seconds"] for step in read_run_folder(folder).steps),
        memory,
    )


def _latency(runtime: Runtime, collator: Collator, task: Task, samples: Sequence[Sample]) -> float:
    """Median milliseconds per row, one at a time; if there are few rows, they are repeated."""
    seconds = []
    for sample in islice(cycle(samples), WARM_UP + TIMED):
        batch = collator([sample]).batch
        started = time.perf_counter()
        task.predict(runtime, batch)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[WARM_UP:])
