"""The training loop. Every step depends on (seed, step) and the weights alone, so a resumed run equals an uninterrupted one."""

import json
import shutil
import statistics
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from braid.bundle import write_bundle
from braid.collate import Collated, Collator, Watch, collated
from braid.config import to_dict
from braid.datasets.checks import leaking_columns
from braid.errors import UserError
from braid.evaluation import evaluate, prepared
from braid.files import as_written, settle, write_whole
from braid.reports import read_log
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.skipped_rows import FILE as SKIPPED
from braid.skipped_rows import SkippedRows
from braid.tasks import MEAN
from braid.training.checkpoint import FILE, Position, load_checkpoint, save_checkpoint
from braid.training.config import RunConfig, read_run, write_run
from braid.training.data import batches
from braid.training.estimates import estimated, fitted_to_time
from braid.training.features import with_features
from braid.training.followers import FILE as SINKS
from braid.training.followers import Followers
from braid.training.guard import guarded
from braid.training.optimizer import MovingAverage, build_optimizer
from braid.training.parallel import Group, Loss, averaged, check_parallel, sharded
from braid.training.run import DIAGNOSED, RELIED, Run, evaluation_rows
from braid.training.samples import FILE as SAMPLES
from braid.training.samples import diagnosed, reliance, warnings, write_samples
from braid.training.sections import AUTO
from braid.training.setup import Setup, TaskData, mixture_of, set_up
from braid.training.steps import take_step
from braid.training.watcher import Outcome, Watcher, profile


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
    started = time.monotonic()
    group = Group()
    watcher = (watcher or Watcher()) if group.leads else Watcher()
    if resume and (folder / FILE).exists() and config.time:
        config = replace(config, epochs=read_run(folder / "run.yaml").epochs)  # as they fitted when the run began
    setup = set_up(config)
    check_parallel(config, group)
    with group.first():
        collator = _collator(setup, watcher)
    run = _begin(setup, collator, folder, watcher, group)
    estimate = estimated(run, profiled)
    if config.time:
        run, estimate = fitted_to_time(run, estimate, started, resume)
        config = replace(config, epochs=run.config.epochs)
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
        _say_columns(run)
        _warn_of_leaks(run)
        _warn_of_random_parts(config, run)
        with Followers(folder, config.sinks, run.watcher.on_note) if group.leads else nullcontext() as followers:
            while not run.position.done:
                _epoch(run, followers)
                _end_epoch(run, followers)
    position = run.position
    breakdown = profile(run.clock, position.step - before, estimate.flops, config.precision, setup.device) if profiled else None
    return Outcome(folder, position.best, position.best_epoch, position.epoch < config.epochs, len(run.skipped_rows), breakdown)


def _collator(setup: Setup, watcher: Watcher) -> Collator:
    config = setup.config
    if not config.cache_features or (config.cache_features == AUTO and config.augmented):
        return setup.collator
    samples = chain.from_iterable((*data.train, *prepared(data.task, evaluation_rows(config, data))) for data in setup.tasks)
    return with_features(setup.model, setup.collator, samples, config.cache_features, watcher.on_note, config.precision)


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


def _say_columns(run: Run) -> None:
    """Say which columns of a table are read, and as what, and how the data set is read where that is not plain."""
    for data in run.setup.tasks if run.group.leads and not run.position.step else ():
        inputs, targets = run.setup.interface.inputs.keys(), data.task.target_fields
        reads = [role for role in data.columns if role in targets or inputs & data.task.inputs_of({role: ""})]
        read = [f"{role}={data.columns[role]}" for role in reads]
        names = ", ".join(data.unused[:8]) + (", ..." if len(data.unused) > 8 else "")
        rest = f"; not read: {names}" if names else ""
        for text in data.said:
            run.watcher.on_note(f"{data.mixed.data.path}: {text}")
        if read:
            run.watcher.on_note(f"{data.mixed.data.path}: reads {', '.join(read)}{rest} (--columns ROLE=NAME changes a column)")


def _warn_of_leaks(run: Run) -> None:
    """Warn of columns that give the label away."""
    for data in run.setup.tasks if run.group.leads and not run.position.step else ():
        for leak in leaking_columns(data.train.examples):
            run.watcher.on_note(f"warning: {leak}; remove it, unless you know it before the label when you use the model")


def _warn_of_random_parts(config: RunConfig, run: Run) -> None:
    """Warn of frozen parts that have no trained weights."""
    for start in config.freeze if not run.position.step else ():
        group, _, rest = start.partition(".")
        name = rest.partition(".")[0]
        given = getattr(getattr(config.model, group, {}).get(name), "source", "")
        if group in ("encoders", "decoders") and not given and f"{group}.{name}" not in config.initialize:
            run.watcher.on_note(
                f"warning: {start} is frozen with random weights; give it trained ones with "
                f"initialize: {{{group}.{name}: small}}, or do not freeze it"
            )


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
        record = take_step(run, pending)
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
    position.done = (
        position.done
        or position.epoch >= config.epochs
        or (config.evaluation.patience > 0 and waited >= config.evaluation.patience)
    )
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
    examples = evaluation_rows(config, data)
    runtime, size = TorchRuntime(setup.model, setup.tokenizer, setup.device), config.evaluation.batch_size
    metrics, answers = evaluate(
        runtime, run.collator, task, examples, config.evaluation.tokenizer, size, config.strict, _watch(run)
    )
    run.skipped_rows.add((sample.source, reason) for sample, reason in answers.skipped)
    samples = [sample for sample in prepared(task, examples[:DIAGNOSED])[:DIAGNOSED] if sample.targets]
    parts = [to_tensors(c.batch, setup.device) for c in collated(run.collator, samples, size) if c.samples]
    with torch.no_grad():
        val_loss = partial(run.objectives[place].validation_loss, setup.model)
        losses = [float(val_loss(batch)) for batch in parts]
        some = slice(-(-RELIED // size))
        relied = [reliance(val_loss, parts[some], losses[some], name) for name in setup.interface.inputs]
    diagnosis = diagnosed(answers, [one for one in relied if one])
    last = run.position.done or run.position.epoch + 1 >= config.epochs
    for warning in warnings(diagnosis, last):
        run.watcher.on_note(f"warning: {task.kind}: {warning}" if config.tasks else f"warning: {warning}")
    kind, position, inputs = task.kind if place else "", run.position, setup.collator.inputs
    write_samples(run.folder, position.step, position.epoch, answers, inputs, task.decoder, kind)
    return {"val_loss": round(statistics.fmean(losses), 5), **metrics}, diagnosis


def _watch(run: Run) -> Watch:
    """Check for signals during an evaluation; several processes check only after a step, together."""
    return run.interrupt.watch if run.group.alone else lambda parts, total: parts


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
        with as_written(path):
            done = [r for r in read_log(path) if r["step"] > 0]
            kept = [r for r in done if (r["step"] <= position.step if "loss" in r else r["epoch"] < position.epoch)]
        write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
