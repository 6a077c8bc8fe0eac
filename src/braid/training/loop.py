"""The training loop. Every step depends on (seed, step) and the weights alone, so a resumed run equals an uninterrupted one."""

import math
import shutil
import statistics
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from braid.bundle import card_scores, write_bundle
from braid.collate import Collated, Collator, Watch, collated
from braid.config import json_text, to_dict
from braid.errors import UserError
from braid.evaluation import empty_answers, evaluate, prepared, remarks
from braid.files import as_written, settle, write_whole
from braid.reports import read_log
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.skipped_rows import FILE as SKIPPED
from braid.skipped_rows import SkippedRows
from braid.tasks import MEAN, Task
from braid.trained_rows import write_trained_rows
from braid.training.checkpoint import Position, load_checkpoint, save_checkpoint
from braid.training.config import RunConfig, write_run
from braid.training.data import batches
from braid.training.estimates import estimated, fitted_to_time
from braid.training.features import Views, with_features
from braid.training.followers import FILE as SINKS
from braid.training.followers import Followers
from braid.training.guard import claimed, guarded
from braid.training.optimizer import MovingAverage, build_optimizer
from braid.training.parallel import Group, Loss, averaged, check_parallel, sharded
from braid.training.resuming import Before, check_data, check_meaning, ended, read_before
from braid.training.run import DIAGNOSED, RELIED, Run, evaluation_rows
from braid.training.samples import FILE as SAMPLES
from braid.training.samples import diagnosed, diverged, reliance, warnings, write_samples
from braid.training.sections import AUTO
from braid.training.setup import Setup, TaskData, mixture_of, set_up
from braid.training.steps import check_weights, take_step
from braid.training.warnings import introduce
from braid.training.watcher import Estimate, Outcome, Watcher, profile


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
        UserError: for bad settings or data, a folder already in use, other data than the run began with, or a loss that is not
            a number.
        Stopped: after Ctrl-C or SIGTERM, once the step is done and the checkpoint saved.
    """
    started = time.monotonic()
    group = Group()
    watcher = (watcher or Watcher()) if group.leads else Watcher()
    with claimed(folder, watcher.on_note) if group.leads else nullcontext(), group.parting():
        before = read_before(folder)
        if before is not None and resume:
            check_data(config, folder)
        if before is not None and not resume:
            raise UserError(f"{folder} already holds a run; add --resume to continue it, or choose another --output")
        if before is not None:
            config = before.going_on(config)
        setup = set_up(config)
        check_parallel(config, group)
        over = ended(config, before.position) if before is not None else ""
        with group.first():
            collator = setup.collator if over else _collator(setup, watcher)
        run = _begin(setup, collator, folder, watcher, group)
        run.position.asked = config.epochs
        if before is not None:
            check_meaning(folder, before.meaning, run.meaning)
        if before is not None and over:
            return _nothing_left(run, before, over)
        estimate = estimated(run, profiled)
        if config.time:
            run, estimate = fitted_to_time(run, estimate, started, before)
            config = replace(config, epochs=run.config.epochs)
        run.watcher.on_start(estimate)
        return _trained(config, run, estimate, before, profiled)


def _nothing_left(run: Run, before: Before, reason: str) -> Outcome:
    """The outcome of a run that is over; its checkpoint is read, so that another model is refused as in a run that goes on."""
    load_checkpoint(run.folder, run.model, run.optimizer, run.average)
    run.skipped_rows.load(run.folder / SKIPPED)
    position = before.position
    early = position.epoch < run.config.epochs
    return Outcome(run.folder, position.best, position.best_epoch, early, len(run.skipped_rows), ended=reason)


def _trained(config: RunConfig, run: Run, estimate: Estimate, before: Before | None, profiled: bool) -> Outcome:
    """Train from the run's position to its end; ``config`` has the settings as they were given."""
    folder, leads = run.folder, run.group.leads
    with guarded(folder, run.interrupt, lambda: _save(run)):
        if leads:
            settle(folder)
        if before is not None:
            load_checkpoint(folder, run.model, run.optimizer, run.average)
            run.position = before.position
            run.skipped_rows.load(folder / SKIPPED)
        elif leads:
            (folder / SINKS).unlink(missing_ok=True)
        if leads:
            write_run(config, folder / "run.yaml")
            if before is None:
                samples = chain.from_iterable(data.train for data in run.setup.tasks)
                write_trained_rows(folder, samples, run.setup.interface.inputs)
            _cut_logs(folder, run.position)
        first = run.position.step
        run.skipped_rows.add((row.source, row.reason) for row in run.setup.skipped)
        introduce(run, config)
        with Followers(folder, config.sinks, run.watcher.on_note) if leads else nullcontext() as followers:
            while not run.position.done:
                _epoch(run, followers)
                _end_epoch(run, followers)
    position, clock = run.position, run.clock
    steps, early = position.step - first, position.epoch < config.epochs
    breakdown = profile(clock, steps, estimate.flops, config.precision, run.setup.device) if profiled else None
    result = (position.best, position.best_epoch, early, len(run.skipped_rows), breakdown)
    return Outcome(folder, *result, steps=steps, went_on=True, ended=ended(config, position))


def _collator(setup: Setup, watcher: Watcher) -> Collator:
    config = setup.config
    if not config.cache_features or (config.cache_features == AUTO and config.augmented and not config.cached_views):
        return setup.collator
    train = [data.train for data in setup.tasks]
    val = [prepared(data.task, evaluation_rows(config, data)) for data in setup.tasks]
    views = None
    if config.cached_views:
        views = Views(config.cached_views, setup.augmented, chain.from_iterable(train))
    samples = chain.from_iterable(val if views else (*train, *val))
    return with_features(setup.model, setup.collator, samples, config.cache_features, watcher.on_note, config.precision, views)


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


def _epoch(run: Run, followers: Followers | None) -> None:
    """Train the rest of one epoch, from the run's position on."""
    config, position = run.config, run.position
    collator = run.setup.augmenting(run.collator)
    norms = []
    samples = [data.train for data in run.setup.tasks]
    loader = batches(samples, collator, run.mixture, position.epoch, position.batch, config.workers, config.strict, run.group)
    pending: list[tuple[int, Collated]] = []
    started = time.perf_counter()
    for part in run.clock.waiting(loader):
        pending.append(part)
        position.batch += 1
        if len(pending) < config.optimizer.accumulation and position.batch < run.mixture.batches(position.epoch):
            continue
        record = take_step(run, pending)
        norms.append(record["gradient_norm"])
        rows = sum(run.group.joined([len(part.samples) for _, part in pending]))
        elapsed, started = time.perf_counter() - started, time.perf_counter()
        run.clock.whole += elapsed
        speed = {"seconds": round(elapsed, 4), "samples_per_second": round(rows / elapsed, 2)}
        _log(run, {**record, **speed, "seconds_left": _left(run, elapsed)})
        if followers:
            followers.follow()
        pending = []
        run.interrupt.check(run.group.joined)
        if any(run.group.joined([time.monotonic() > run.deadline])):
            position.done = True
            return
        if position.step % config.checkpoint_steps == 0:
            _save(run)
    if norms and not any(norms):
        run.warn(f"the gradient was 0 in all steps of epoch {position.epoch + 1}, so nothing was learned")


def _end_epoch(run: Run, followers: Followers | None) -> None:
    """Evaluate in the first process, and save a checkpoint in all."""
    check_weights(run)
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
    position.done = bool(ended(config, position))
    _write_log(run, {**record, **diagnosis})  # before the checkpoint: a run killed in between evaluates again
    return {**record, "best": better}


def _save(run: Run) -> None:
    check_weights(run)
    if run.group.leads:
        run.skipped_rows.save(run.folder / SKIPPED)
    save_checkpoint(run.folder, run.model, run.optimizer, run.average, run.position, run.meaning, run.group)


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
    examples = evaluation_rows(config, data)
    runtime, size = TorchRuntime(setup.model, setup.tokenizer, setup.device), config.evaluation.batch_size
    metrics, answers = evaluate(
        runtime, run.collator, task, examples, config.evaluation.tokenizer, size, config.strict, _watch(run)
    )
    run.skipped_rows.add((sample.source, reason) for sample, reason in answers.skipped)
    about = f"{task.kind}: {data.mixed.data.val}" if config.tasks else data.mixed.data.val
    if compared := task.compared(answers.samples, config.evaluation.tokenizer):
        run.say(f"{about}: {compared}")
    for remark in remarks(setup.interface, task, answers, config.evaluation.tokenizer):
        run.warn(f"{about}: {remark}")
    parts = [to_tensors(c.batch, setup.device) for c in collated(run.collator, answers.samples[:DIAGNOSED], size) if c.samples]
    parts = [batch for batch in parts if any(bool(batch.targets[name].mask.any()) for name in task.decoders)]
    with torch.no_grad():
        val_loss = partial(run.objectives[place].validation_loss, setup.model)
        losses = [float(val_loss(batch)) for batch in parts]
        some = slice(-(-RELIED // size))
        relied = [reliance(val_loss, parts[some], losses[some], name) for name in setup.interface.inputs]
    figures = {"val_loss": round(statistics.fmean(losses), 5) if losses else None, **metrics}
    _check_figures(run, task, figures)
    diagnosis = diagnosed(answers, [one for one in relied if one])
    last = run.position.done or run.position.epoch + 1 >= config.epochs
    for warning in (*warnings(diagnosis, last), *(empty_answers(answers.predictions) if last else ())):
        run.watcher.on_note(f"warning: {task.kind}: {warning}" if config.tasks else f"warning: {warning}")
    kind, position, inputs = task.kind if place else "", run.position, setup.collator.inputs
    write_samples(run.folder, position.step, position.epoch, answers, inputs, task.decoder, kind)
    return figures, diagnosis


def _check_figures(run: Run, task: Task, figures: Mapping[str, float | None]) -> None:
    """Stop the run if the loss or the main metric is not a number, before the model is saved."""
    for name in ("val_loss", task.main_metric):
        value = figures[name]
        if value is not None and not math.isfinite(value):
            title = "the loss" if name == "val_loss" else name
            raise diverged(f"{title} is {value} on the val rows after step {run.position.step}")


def _watch(run: Run) -> Watch:
    """Check for signals during an evaluation; several processes check only after a step, together."""
    return run.interrupt.watch if run.group.alone else lambda parts, total: parts


def _save_bundle(run: Run, folder: Path, record: dict[str, Any]) -> None:
    setup, config = run.setup, run.config
    known = {name: value for name, value in record.items() if name not in ("step", "epoch", MEAN) and value is not None}
    rows = [
        (f"{mixed.task.kind}: " if config.tasks else "") + f"{mixed.data.path} {mixed.data.val}, {record[name]:.0f} rows"
        for place, mixed in enumerate(config.mixture)
        for name in run.named(place, {"num_samples": 0})
    ]
    scored_on = f"{'; '.join(rows)}, greedy, seed {config.seed}"
    interface = replace(setup.interface, card=replace(setup.interface.card, scores=card_scores(known), scored_on=scored_on))
    weights = {name: value.detach().cpu().numpy() for name, value in setup.model.state_dict().items()}
    write_bundle(folder, interface, setup.tokenizers, to_dict(config.model), weights, config.half)


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
        log.write(json_text(record) + "\n")


def _cut_logs(folder: Path, position: Position) -> None:
    """Drop records that were logged after the checkpoint, because the run repeats those steps and epochs."""
    for name in ("log.jsonl", SAMPLES):
        path = folder / name
        with as_written(path):
            done = [r for r in read_log(path) if r["step"] > 0]
            kept = [r for r in done if (r["step"] <= position.step if "loss" in r else r["epoch"] < position.epoch)]
        write_whole(path, "".join(json_text(record) + "\n" for record in kept))
