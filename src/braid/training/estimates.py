"""How long a run takes, measured before its first step, and how many epochs fit into its time."""

import math
import resource
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from braid.collate import over_batches
from braid.evaluation import prepared
from braid.runtime.device import CPU
from braid.runtime.torch import TorchRuntime
from braid.training.data import Mixture, batches
from braid.training.parallel import aligned
from braid.training.resuming import Before
from braid.training.run import DIAGNOSED, RELIED, Run, evaluation_rows
from braid.training.sections import seconds_of
from braid.training.setup import TaskData, mixture_of
from braid.training.steps import backward
from braid.training.watcher import Clock, Estimate, mean_flops

SAFETY = 0.85  # share of the time that epochs are planned for


def estimated(run: Run, counted: bool) -> Estimate:
    """Estimate time and memory of the whole run from three forward and backward passes of each task, which change nothing. With
    ``counted``, count the FLOP of a step, too."""
    buffers = {name: value.clone() for name, value in run.model.named_buffers()}
    collator = run.setup.augmenting(run.collator)
    total = 0.0
    numbers = [sum(counts[task] for counts in run.mixture.counts) for task in range(len(run.mixture.plans))]
    flops: list[list[int]] = [[] for _ in numbers]
    for task, (plan, number) in enumerate(zip(run.mixture.plans, numbers, strict=True)):
        seconds = []
        for _, part in batches([run.setup.tasks[task].train], collator, Mixture((plan,), ((min(number, 3),),)), 0):
            started = time.perf_counter()
            with FlopCounterMode(display=False, custom_mapping=COUNTED) if counted else nullcontext() as counter:
                part = aligned(part, run.group) if run.is_sharded else part
                if part.samples:
                    backward(run, task, part)
            seconds.append(time.perf_counter() - started)
            if counter is not None:
                flops[task].append(counter.get_total_flops())
        total += number * min(seconds, default=0.0)
    run.optimizer.zero_grad(set_to_none=True)
    for name, value in run.model.named_buffers():
        value.copy_(buffers[name])
    parameters = list(run.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    own = trained // run.group.size if run.is_sharded else trained
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 8 * own  # plus AdamW's two moments
    run.clock = Clock(run.setup.device if counted else CPU)
    step = mean_flops(flops, numbers) * run.config.optimizer.accumulation
    return Estimate(run.steps, total, memory, sum(p.numel() for p in parameters), trained, step)


def fitted_to_time(run: Run, estimate: Estimate, started: float, before: Before | None) -> tuple[Run, Estimate]:
    """The run with a deadline, and with as many of its epochs as are likely to fit before it. A run that is resumed keeps its
    number of epochs, unless another is asked for."""
    config = run.config
    left = seconds_of(config.time) - (time.monotonic() - started)
    # the first process evaluates; the model of a sharded run is whole only then
    evaluation = 0.0 if run.is_sharded else sum(_evaluation_seconds(run, data) for data in run.setup.tasks)
    run.deadline = time.monotonic() + left - evaluation
    epoch = estimate.seconds / config.epochs + evaluation
    epochs = config.epochs
    if before is None or epochs != before.epochs:
        done = before.position.epoch if before else 0
        epochs = min(epochs, done + max(1, int(SAFETY * left / max(epoch, 1e-6))))
    epochs = min(run.group.joined([epochs]))  # the same in all processes
    setup = replace(run.setup, config=replace(config, epochs=epochs))
    share = epochs / config.epochs
    steps, seconds = max(1, round(estimate.steps * share)), epochs * epoch
    return replace(run, setup=setup, mixture=mixture_of(setup)), replace(estimate, steps=steps, seconds=seconds)


def _convolution_backward(
    grad: Sequence[int], inputs: Sequence[int], weight: Sequence[int], *rest: Any, out_shape: Any = None, **named: Any
) -> int:
    """The FLOP of a convolution's gradients; torch's own formula counts a depthwise convolution as a full one.

    Args:
        grad: shape of the gradient of the output; ``weight`` that of the weights, [out, in / groups, rows, columns].
        rest: its last value says which gradients are wanted: of the input, of the weights, of the bias.
    """
    wanted = sum(map(bool, rest[-1][:2]))
    return wanted * 2 * math.prod(grad) * math.prod(weight[1:])


COUNTED = {torch.ops.aten.convolution_backward: _convolution_backward}


def _evaluation_seconds(run: Run, data: TaskData) -> float:
    """The seconds that an evaluation of a task takes, from that of a few rows: the answers to all rows, and the loss of some,
    which is measured again without each input."""
    rows = evaluation_rows(run.config, data)
    some = rows[: run.config.evaluation.batch_size]
    started = time.monotonic()
    task = data.task.searching(1) if data.task.generation else data.task
    runtime = TorchRuntime(run.setup.model.eval(), run.setup.tokenizer, run.setup.device)
    over_batches(run.collator, prepared(task, some), lambda part: task.predict(runtime, part.batch), len(some))
    passes = len(rows) + min(DIAGNOSED, len(rows)) + min(RELIED, len(rows)) * len(run.setup.interface.inputs)
    return (time.monotonic() - started) * passes / max(len(some), 1)
