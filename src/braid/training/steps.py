"""One step: the gradients of its batches, and what the optimizer makes of them."""

import statistics
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from braid.collate import Collated
from braid.errors import UserError
from braid.records import Batch
from braid.runtime.torch import to_tensors
from braid.training.config import RunConfig
from braid.training.optimizer import learning_rate, set_learning_rate
from braid.training.parallel import aligned, clip, not_finite, unshared, weight
from braid.training.run import Run
from braid.training.samples import check_loss, diverged


def take_step(run: Run, parts: list[tuple[int, Collated]]) -> dict[str, Any]:
    """Take one optimizer step over the gradients of ``parts``: (task number, batch)."""
    config, position = run.config, run.position
    torch.manual_seed(int(np.random.SeedSequence(_seed(run)).generate_state(1, np.uint64)[0] >> 1))
    rate = learning_rate(config.optimizer, position.step, run.steps)
    set_learning_rate(run.optimizer, rate)
    run.optimizer.zero_grad(set_to_none=True)
    run.skipped_rows.add(run.group.joined([(sample.source, reason) for _, part in parts for sample, reason in part.skipped]))
    if not any(run.group.joined([len(part.samples) for _, part in parts])):
        _check_readable(run, *parts[0])
    metrics = [(task, result) for task, part in parts if (result := _shared_backward(run, task, part))]
    readable = [part for _, part in parts if part.samples]
    with run.clock.measured("optimizer"):
        run.group.add_gradients(unshared(run.model))
        norm = clip(run.model.parameters(), config.optimizer.clip)
        if readable and not torch.isfinite(norm):
            check_loss(norm, position.step, readable[0].batch.ids)
        run.optimizer.step()
        run.average.update(run.model, position.step)
    position.step += 1
    return {
        "step": position.step,
        "epoch": position.epoch,
        **_mean_metrics(run, metrics),
        "learning_rate": rate,
        "gradient_norm": round(float(norm), 4),
    }


def check_weights(run: Run) -> None:
    """Stop the run if a weight is not a number, before it is saved; all processes must call this.

    Raises:
        UserError: naming the weight.
    """
    if names := run.group.joined(not_finite(run.model)):
        raise diverged(f"the weights are not numbers after step {run.position.step} (nan or inf in {names[0]})")


def _check_readable(run: Run, task: int, part: Collated) -> None:
    samples = run.setup.tasks[task].train
    if part.skipped and all(sample.source in run.skipped_rows for sample in samples):
        raise UserError(f"none of the {len(samples)} training rows could be read; the first: {part.skipped[0][1]}")


def _mean_metrics(run: Run, metrics: list[tuple[int, dict[str, float]]]) -> dict[str, Any]:
    """The mean of each metric over a step's batches, with several tasks also per task; a loss of 0 if no row is readable."""
    result: dict[str, list[float]] = {"loss": [one["loss"] for _, one in metrics] or [0.0]}
    kinds: dict[str, None] = {}
    for task, one in metrics:
        kind = run.setup.tasks[task].task.kind
        kinds[kind] = None
        for name, value in one.items():
            if run.config.tasks or name != "loss":
                result.setdefault(f"{kind}.{name}" if run.config.tasks else name, []).append(value)
    tasks = {"task": "+".join(kinds)} if run.config.tasks else {}
    return {**tasks, **{name: round(statistics.fmean(values), 5) for name, values in result.items()}}


def _seed(run: Run) -> tuple[int, ...]:
    """The seed of a step; each process has its own."""
    return (run.config.seed, run.position.step, *([run.group.rank] if run.group.rank else []))


def _shared_backward(run: Run, task: int, part: Collated) -> dict[str, float]:
    """``backward`` over a batch that processes share, and the weighted mean of their metrics; {} if no row is readable."""
    share = run.group.share(weight(part.batch.targets.values(), len(part.samples)))
    part = aligned(part, run.group) if run.is_sharded else part
    own = backward(run, task, part, share) if part.samples else {}
    result: dict[str, float] = {}
    for name, value in run.group.joined([(name, value * share) for name, value in own.items()]):
        result[name] = result.get(name, 0.0) + value
    return result


def backward(run: Run, task: int, part: Collated, share: float = 1.0) -> dict[str, float]:
    """Add one batch's gradients, scaled by ``share``, and return the loss and the objective's other metrics."""
    config = run.config
    run.model.train()
    tensors = to_tensors(_dropped(part.batch, config, _seed(run)), run.setup.device)
    with (
        run.clock.measured("forward"),
        torch.autocast(run.setup.device.type, torch.bfloat16) if config.precision == "bfloat16" else nullcontext(),
    ):
        loss, metrics = run.loss(run.objectives[task], tensors, part.samples)
    check_loss(loss, run.position.step, part.batch.ids)
    with run.clock.measured("backward"):
        (loss * share / config.optimizer.accumulation).backward()
    return {"loss": float(loss.detach()), **metrics}


def _dropped(batch: Batch, config: RunConfig, seed: tuple[int, ...]) -> Batch:
    """Remove whole inputs of rows at random, so that the model learns to do without them."""
    rng = np.random.default_rng(seed)
    inputs = dict(batch.inputs)
    for name, probability in config.input_dropout.items():
        if name in inputs:
            lost = rng.random(batch.size) < probability
            inputs[name] = replace(inputs[name], index=np.where(lost, -1, inputs[name].index))
    return replace(batch, inputs=inputs)
