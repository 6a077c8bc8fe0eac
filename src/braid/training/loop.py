"""The training loop. Every step depends on (seed, step) and the weights alone, so a resumed run equals an uninterrupted one."""

import json
import resource
import shutil
import statistics
import time
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from braid.bundle import write_bundle
from braid.collate import Collated, Collator, Watch, collated
from braid.config import to_dict
from braid.datasets import Rows
from braid.datasets.checks import leaking_columns
from braid.errors import UserError
from braid.evaluation import evaluate, prepared
from braid.files import settle, write_whole
from braid.model import Model
from braid.objectives import Objective
from braid.records import Batch
from braid.reports import read_log
from braid.runtime.device import CPU
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.skipped_rows import FILE as SKIPPED
from braid.skipped_rows import SkippedRows
from braid.tasks import MEAN
from braid.training.checkpoint import FILE, Position, load_checkpoint, save_checkpoint
from braid.training.config import RunConfig, write_run
from braid.training.data import Mixture, batches
from braid.training.features import cache_folder, with_features
from braid.training.followers import FILE as SINKS
from braid.training.followers import Followers
from braid.training.guard import Interrupt, guarded
from braid.training.optimizer import MovingAverage, build_optimizer, learning_rate, set_learning_rate
from braid.training.parallel import Group, Loss, aligned, averaged, check_parallel, clip, sharded, unshared, weight
from braid.training.samples import FILE as SAMPLES
from braid.training.samples import check_loss, diagnosed, reliance, warnings, write_samples
from braid.training.setup import Setup, TaskData, mixture_of, set_up
from braid.training.watcher import Clock, Estimate, Outcome, Watcher, mean_flops, profile


@dataclass
class Run:
    """The state of a run, which the functions of the loop share."""

    setup: Setup
    folder: Path
    watcher: Watcher
    optimizer: torch.optim.AdamW
    average: MovingAverage
    objectives: tuple[Objective, ...]  # one per task, in the order of the mixture's plans
    mixture: Mixture
    skipped_rows: SkippedRows
    collator: Collator  # without augmentation
    loss: Loss  # of the model that is trained (sharded, or the setup's own)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=50))  # seconds of each of the last steps
    position: Position = field(default_factory=Position)
    interrupt: Interrupt = field(default_factory=Interrupt)
    clock: Clock = field(default_factory=Clock)
    group: Group = field(default_factory=Group)

    @property
    def config(self) -> RunConfig:
        return self.setup.config

    @property
    def model(self) -> Model:
        """The model that is trained. It is the setup's model, which is evaluated and saved, unless the run is sharded."""
        return self.loss.model

    @property
    def is_sharded(self) -> bool:
        return self.model is not self.setup.model

    @cached_property
    def steps(self) -> int:
        return sum(-(-self.mixture.batches(k) // self.config.optimizer.accumulation) for k in range(self.config.epochs))

    def named(self, task: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The names of a task's metrics in a record: tasks beside the main one get their kind as a prefix."""
        prefix = f"{self.setup.tasks[task].task.kind}." if task else ""
        return {prefix + name: value for name, value in metrics.items()}


def train(
    config: RunConfig, folder: Path, resume: bool = False, watcher: Watcher | None = None, profiled: bool = False
) -> Outcome:
    """Train a model as ``config`` describes. ``folder`` receives run.yaml, log.jsonl, the checkpoint, the bundles best/ and
    last/, and skipped_rows.jsonl with the rows that could not be read.

    Args:
        resume: continue from the folder's checkpoint; the result is bit-equal to that of an uninterrupted run.
        watcher: callbacks for the records of steps and epochs, and for notes.
        profiled: count the FLOP of a step and measure the processor's peak, for the outcome's profile.
    Raises:
        UserError: for bad settings or data, a folder already in use, or a loss that is not a number.
        Stopped: after Ctrl-C or SIGTERM, once the step is done and the checkpoint saved.
    """
    if (folder / FILE).exists() and not resume:
        raise UserError(f"{folder} already holds a run; add --resume to continue it, or choose another --output")
    group = Group()
    watcher = (watcher or Watcher()) if group.leads else Watcher()
    setup = set_up(config)
    check_parallel(config, group)
    with group.first():
        collator = _collator(setup, watcher)
    run = _begin(setup, collator, folder, watcher, group)
    estimate = _estimate(run, profiled)
    run.watcher.on_start(estimate)
    with group.parting(), guarded(folder, run.interrupt, lambda: _save(run)):
        if group.leads:
            settle(folder)
        if resume and (folder / FILE).exists():
            run.position = load_checkpoint(folder, run.model, run.optimizer, run.average)
            run.skipped_rows.load(folder / SKIPPED)
        elif group.leads:
            write_run(config, folder / "run.yaml")
            (folder / SINKS).unlink(missing_ok=True)
        if group.leads:
            _cut_logs(folder, run.position)
        before = run.position.step
        run.skipped_rows.add((row.source, row.reason) for row in setup.skipped)
        _warn_of_leaks(run)
        with Followers(folder, config.sinks, run.watcher.on_note) if group.leads else nullcontext() as followers:
            while not run.position.done:
                _epoch(run, followers)
                _end_epoch(run, followers)
    position = run.position
    breakdown = profile(run.clock, position.step - before, estimate.flops, config.precision, setup.device) if profiled else None
    return Outcome(folder, position.best, position.best_epoch, position.epoch < config.epochs, len(run.skipped_rows), breakdown)


def _collator(setup: Setup, watcher: Watcher) -> Collator:
    config = setup.config
    if not config.cache_features:
        return setup.collator
    samples = chain.from_iterable((*data.train, *prepared(data.task, _evaluation_rows(config, data))) for data in setup.tasks)
    folder = cache_folder(config.cache_features)
    return with_features(setup.model, setup.collator, samples, folder, watcher.on_note, config.precision)


def _begin(setup: Setup, collator: Collator, folder: Path, watcher: Watcher, group: Group) -> Run:
    config = setup.config
    loss = sharded(setup.model, setup.device, group) if config.sharded and not group.alone else Loss(setup.model)
    optimizer = build_optimizer(loss.model, config.optimizer)
    average = MovingAverage(loss.model, config.ema)
    objectives = tuple(data.mixed.objective.build(data.task, setup.tokenizer, data.train) for data in setup.tasks)
    skipped_rows = SkippedRows(watcher.on_note)
    return Run(
        setup, folder, watcher, optimizer, average, objectives, mixture_of(setup), skipped_rows, collator, loss, group=group
    )


def _warn_of_leaks(run: Run) -> None:
    """Warn of columns that give the label away."""
    for data in run.setup.tasks if run.group.leads and not run.position.step else ():
        for leak in leaking_columns(data.train.examples):
            run.watcher.on_note(f"warning: {leak}; remove it, unless you know it before the label when you use the model")


def _epoch(run: Run, followers: Followers | None) -> None:
    """Train the rest of one epoch, from the run's position on."""
    config, position = run.config, run.position
    collator = run.setup.augmenting(run.collator)
    samples = [data.train for data in run.setup.tasks]
    loader = batches(samples, collator, run.mixture, position.epoch, position.batch, config.workers, config.strict, run.group)
    pending: list[tuple[int, Collated]] = []
    started = time.perf_counter()
    for part in run.clock.waiting(loader):
        pending.append(part)
        position.batch += 1
        if len(pending) < config.optimizer.accumulation and position.batch < run.mixture.batches(position.epoch):
            continue
        record = _step(run, pending)
        rows = sum(run.group.joined([len(part.samples) for _, part in pending]))
        elapsed, started = time.perf_counter() - started, time.perf_counter()
        run.clock.whole += elapsed
        speed = {"seconds": round(elapsed, 4), "samples_per_second": round(rows / elapsed, 2)}
        _log(run, {**record, **speed, "seconds_left": _left(run, elapsed)})
        if followers:
            followers.follow()
        pending = []
        run.interrupt.check(run.group.joined)
        if position.step % config.checkpoint_steps == 0:
            _save(run)


def _step(run: Run, parts: list[tuple[int, Collated]]) -> dict[str, Any]:
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
    """``_backward`` over a batch that processes share, and the weighted mean of their metrics; {} if no row is readable."""
    share = run.group.share(weight(part.batch.targets.values(), len(part.samples)))
    part = aligned(part, run.group) if run.is_sharded else part
    own = _backward(run, task, part, share) if part.samples else {}
    result: dict[str, float] = {}
    for name, value in run.group.joined([(name, value * share) for name, value in own.items()]):
        result[name] = result.get(name, 0.0) + value
    return result


def _backward(run: Run, task: int, part: Collated, share: float = 1.0) -> dict[str, float]:
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


def _end_epoch(run: Run, followers: Followers | None) -> None:
    """Evaluate in the first process, and save a checkpoint in all."""
    with averaged(run.setup.model, run.model, run.average, run.group):
        record = _evaluate_and_save(run) if run.group.leads else {}
    run.position = run.group.broadcast(run.position)
    _save(run)
    if run.group.leads:
        run.watcher.on_epoch(record)
    if followers:
        followers.end_epoch()


def _evaluate_and_save(run: Run) -> dict[str, Any]:
    """Evaluate the model, save best and last, and decide whether to continue."""
    config, position = run.config, run.position
    record, diagnosis = _evaluate_tasks(run)
    metric = record[config.best]
    better = position.best is None or (metric > position.best if config.better == "higher" else metric < position.best)
    if better:
        position.best, position.best_epoch = metric, position.epoch
    kept = [f"epoch-{position.epoch + 1}"] if config.keep else []
    for name in ["last", *(["best"] if better else []), *kept]:
        _save_bundle(run, run.folder / name, record)
    position.epoch, position.batch = position.epoch + 1, 0
    if config.keep:
        shutil.rmtree(run.folder / f"epoch-{position.epoch - config.keep}", ignore_errors=True)
    waited = position.epoch - 1 - position.best_epoch
    position.done = position.epoch >= config.epochs or (config.evaluation.patience > 0 and waited >= config.evaluation.patience)
    _write_log(run, {**record, **diagnosis})  # before the checkpoint: a run killed in between evaluates again
    return {**record, "best": better}


def _save(run: Run) -> None:
    if run.group.leads:
        run.skipped_rows.save(run.folder / SKIPPED)
    save_checkpoint(run.folder, run.model, run.optimizer, run.average, run.position, run.group)


def _evaluate_tasks(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The loss and the metrics of each task on its val rows, and a diagnosis for reports. With several tasks, the mean of their
    main metrics chooses the best epoch (``braid.tasks.MEAN``)."""
    started = time.perf_counter()
    run.setup.model.eval()
    record: dict[str, Any] = {"step": run.position.step, "epoch": run.position.epoch}
    diagnosis: dict[str, Any] = {}
    main_metrics = []
    for place, data in enumerate(run.setup.tasks):
        metrics, more = _evaluate_task(run, place, data)
        main_metrics.append(metrics[data.task.main_metric] * (1 if data.task.better == "higher" else -1))
        record |= run.named(place, metrics)
        diagnosis |= run.named(place, more)
    if run.config.tasks:
        record[MEAN] = statistics.fmean(main_metrics)
    return record, {**diagnosis, "seconds": round(time.perf_counter() - started, 3)}


def _evaluate_task(run: Run, place: int, data: TaskData) -> tuple[dict[str, Any], dict[str, Any]]:
    """The loss and the metrics of one task on val, decoded greedily, and a diagnosis: does the model use its inputs at all?"""
    config, setup, task = run.config, run.setup, data.task
    if task.generation:
        task = task.searching(1)
    examples = _evaluation_rows(config, data)
    runtime, size = TorchRuntime(setup.model, setup.tokenizer, setup.device), config.evaluation.batch_size
    metrics, answers = evaluate(
        runtime, run.collator, task, examples, config.evaluation.tokenizer, size, config.strict, _watch(run)
    )
    run.skipped_rows.add((sample.source, reason) for sample, reason in answers.skipped)
    samples = [sample for sample in prepared(task, examples[:256])[:256] if sample.targets]
    parts = [to_tensors(c.batch, setup.device) for c in collated(run.collator, samples, size) if c.samples]
    with torch.no_grad():
        val_loss = partial(run.objectives[place].validation_loss, setup.model)
        loss = statistics.fmean(float(val_loss(batch)) for batch in parts)
    diagnosis = diagnosed(answers, [one for name in setup.interface.inputs if (one := reliance(val_loss, parts, name))])
    for warning in warnings(diagnosis):
        run.watcher.on_note(f"warning: {task.kind}: {warning}" if config.tasks else f"warning: {warning}")
    kind, position, inputs = task.kind if place else "", run.position, setup.collator.inputs
    write_samples(run.folder, position.step, position.epoch, answers, inputs, task.decoder, kind)
    return {"val_loss": round(loss, 5), **metrics}, diagnosis


def _watch(run: Run) -> Watch:
    """Check for signals during an evaluation; several processes check only after a step, together."""
    return run.interrupt.watch if run.group.alone else lambda parts, total: parts


def _evaluation_rows(config: RunConfig, data: TaskData) -> Rows:
    """The val rows that each evaluation reads."""
    return data.val[: config.evaluation.limit or None]


def _save_bundle(run: Run, folder: Path, record: dict[str, Any]) -> None:
    setup, config = run.setup, run.config
    scores = {name: round(float(value), 2) for name, value in record.items() if name not in ("step", "epoch", MEAN)}
    rows = [
        (f"{mixed.task.kind}: " if config.tasks else "") + f"{mixed.data.path} {mixed.data.val}, {record[name]:.0f} rows"
        for place, mixed in enumerate(config.mixture)
        for name in run.named(place, {"num_samples": 0})
    ]
    scored_on = f"{'; '.join(rows)}, greedy, seed {config.seed}"
    interface = replace(setup.interface, card=replace(setup.interface.card, scores=scores, scored_on=scored_on))
    weights = {name: value.detach().cpu().numpy() for name, value in setup.model.state_dict().items()}
    write_bundle(folder, interface, setup.tokenizers, to_dict(config.model), weights, config.half)


def _estimate(run: Run, counted: bool) -> Estimate:
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
            with FlopCounterMode(display=False) if counted else nullcontext() as counter:
                part = aligned(part, run.group) if run.is_sharded else part
                if part.samples:
                    _backward(run, task, part)
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


def _left(run: Run, seconds: float) -> float:
    """The seconds until the run ends, from the mean of the last steps, because the tasks take different times."""
    run.recent.append(seconds)
    return round((run.steps - run.position.step) * statistics.fmean(run.recent), 1)


def _log(run: Run, record: dict[str, Any]) -> None:
    if run.group.leads:
        _write_log(run, record)
    run.watcher.on_step({**record, "steps": run.steps, "epochs": run.config.epochs})


def _write_log(run: Run, record: dict[str, Any]) -> None:
    with open(run.folder / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(record) + "\n")


def _cut_logs(folder: Path, position: Position) -> None:
    """Drop records that were logged after the checkpoint, because the run repeats those steps and epochs."""
    for name in ("log.jsonl", SAMPLES):
        path = folder / name
        done = [r for r in read_log(path) if r["step"] > 0]
        kept = [r for r in done if (r["step"] <= position.step if "loss" in r else r["epoch"] < position.epoch)]
        write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
