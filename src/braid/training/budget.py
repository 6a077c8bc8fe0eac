"""Training in stages: a first model within a minute, then better ones for as long as there is time.

A stage is a run of its own under ``stages/`` of the run's folder. A stage whose model is at least as good on val as all before
it is copied to the run's folder, so ``best/`` is always the best model so far. ``stages.json`` says what was done.
"""

import math
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from braid.bundle import read_bundle
from braid.config import json_text, to_dict
from braid.datasets import open_dataset
from braid.errors import UserError
from braid.files import whole, write_whole
from braid.objectives import LikelihoodConfig
from braid.reports import read_log
from braid.reports.stages import LIST, Progress, Stage, read_progress
from braid.trained_rows import FILE as TRAINED
from braid.training.advice import advice
from braid.training.checkpoint import FILE as CHECKPOINT
from braid.training.config import RunConfig, read_run, write_run
from braid.training.defaults import WRITES_VALUES
from braid.training.followers import write_page
from braid.training.guard import claimed
from braid.training.loop import train
from braid.training.resuming import check_data, read_before
from braid.training.samples import MEDIA
from braid.training.sections import seconds_of
from braid.training.watcher import Outcome, Watcher

STAGES, PLAN = "stages", "run.yaml"
COPIED = (
    "best",
    "last",
    "run.yaml",
    "log.jsonl",
    "samples.jsonl",
    MEDIA,
    "skipped_rows.jsonl",
    TRAINED,
    CHECKPOINT,
)
AT_ONCE = ("best", "run.yaml", "log.jsonl", "samples.jsonl", MEDIA, "skipped_rows.jsonl", TRAINED)  # of a stage that is not over
FIRST_SECONDS = 50.0  # of the first stage
IMAGES_A_SECOND = 40  # that are read, resized and encoded in the first stage on two slow cores
RECORDINGS_A_SECOND = 10  # each is four images of that size
MAIN = 0.7  # share of the time that is left, for the main stage
MAIN_CHEAP = 0.8  # the same where it is the last stage but that on half of the rows
HALF = 0.75  # share of the seconds of the main stage's steps and evaluations that half of the rows may take
LEAST = 60.0  # seconds that are worth another stage
AGAIN = 2  # at most so many stages with another seed
DEEPER = 240.0  # seconds that are worth training the last blocks of the encoder
DEEPEST = 900.0  # seconds that are worth training all of it
LAST = 1 / 3  # share of the encoder's blocks that are its last ones: they cost little, because their maps are small
LAST_HEARD = 4 / 7  # the same of recordings: an encoder of photos has more to learn (docs/log.md)
SMALLER = 0.75  # size of the images that train a convolutional network, relative to those in use
DEEPER_RATE = 2e-4  # learning rate then
HEARD_RATE = 3e-4  # the same of recordings
MIXUP = 0.2  # of recordings then
WHOLE_RATE = 0.2  # the share of it that a whole encoder has


def train_in_stages(
    config: RunConfig, folder: Path, time_limit: str = "", resume: bool = False, watcher: Watcher | None = None
) -> Outcome:
    """Train for ``time_limit`` (``10m``, ``1h``), or until the quick stages are done if it is "".

    Args:
        config: the main stage; the others are derived from it.
        resume: go on after the stages that the folder holds.
    Raises:
        UserError: like ``train``.
    """
    return _Sequence(config, folder, seconds_of(time_limit), watcher or Watcher()).run(resume)


def deeper_run(config: RunConfig, start: Path, name: str, blocks: float) -> RunConfig:
    """A run that also trains the last blocks of a frozen encoder, or all, from the model ``start``; the input is augmented.

    Args:
        config: the run of ``start``, whose features were cached.
        name: the input that the encoder reads.
        blocks: share of the encoder's blocks that are trained; 1 trains all of it.
    """
    frozen = [part for part in config.freeze if part.startswith(f"encoders.{name}")]
    trained = [block for part in frozen for block in _last_blocks(start, part, blocks)]
    rates = {block: WHOLE_RATE if block in frozen else 1.0 for block in trained}
    heard = config.inputs[name].kind == "audio"
    objective = config.objective
    if heard and len(config.model.encoders) == 1 and config.task.labels_rows and isinstance(objective, LikelihoodConfig):
        objective = replace(objective, mixup=objective.mixup or MIXUP)
    return replace(
        config,
        initialize=dict.fromkeys(_all_parts(config), str(start)),
        freeze=tuple(part for part in config.freeze if part not in trained),
        cache_features="",
        inputs={**config.inputs, name: _augmenting(config, name)},
        optimizer=replace(
            config.optimizer,
            learning_rate=HEARD_RATE if heard else DEEPER_RATE,
            scales={**config.optimizer.scales, **rates},
        ),
        objective=objective,
        batch_size=min(32, config.batch_size),
        workers=1,
    )


class _Sequence:
    """A sequence of stages while it is trained."""

    def __init__(self, config: RunConfig, folder: Path, seconds: float, watcher: Watcher) -> None:
        self.config, self.folder, self.seconds = config, folder, seconds
        self.watcher = replace(watcher, on_note=_once(watcher.on_note))
        self.started = time.monotonic()
        self.progress = Progress()
        self.outcome: Outcome | None = None
        self.steps, self.went_on, self.halving = 0, False, True

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.started)

    def run(self, resume: bool) -> Outcome:
        with claimed(self.folder, self.watcher.on_note):
            return self._run(resume)

    def _run(self, resume: bool) -> Outcome:
        path = self.folder / LIST
        if (path.exists() or (self.folder / CHECKPOINT).exists()) and not resume:
            raise UserError(f"{self.folder} already holds a run; add --resume to continue it, or choose another --output")
        if path.exists():
            check_data(self.config, self.folder)
            self.progress = read_progress(self.folder)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_run(self.config, self.folder / STAGES / PLAN)
            self._write_progress()
        while (stage := self._next()) is not None:
            self._train(*stage)
        if LEAST < self.left <= DEEPER and self.outcome is not None and self._encoder_frozen():
            needs = f"training the encoder, too, needs {DEEPER / 60:.0f} minutes; --resume --time 10m does it"
            self.watcher.on_note(f"{self.left:.0f} s of the time are left, and {needs}")
        assert self.outcome is not None or self.progress.best  # there is always a main stage
        best = next((one.metric for one in self.progress.stages if one.name == self.progress.best), None)
        said = advice(self.config, self.folder, self._halves(), self._encoder_frozen())
        if self.outcome is not None:
            done = replace(self.outcome, folder=self.folder, best=best, stopped_early=False, advice=tuple(said))
            return replace(done, steps=self.steps, went_on=self.went_on)
        none = "all its stages are done" + (", and no other fits into the time" if self.seconds < math.inf else "")
        ended = f"{none}; it goes on with --resume --time 1h, and other settings need another --output"
        return Outcome(self.folder, best, self._best_epoch(), advice=tuple(said), ended=ended)

    def _write_progress(self) -> None:
        write_whole(self.folder / LIST, json_text(to_dict(self.progress), indent=1))

    def _next(self) -> tuple[Stage, RunConfig] | None:
        """The next stage and its run; None if there is nothing more to do in the time that is left."""
        done = {stage.name for stage in self.progress.stages if stage.metric is not None}
        image = _image(self.config)
        if "first" not in done and "main" not in done and image is not None and self.seconds >= 2 * FIRST_SECONDS:
            return self._first(image)
        if "main" not in done:
            share = MAIN if self.left > 2 * DEEPER else MAIN_CHEAP if self._cheap else 1.0
            return Stage("main", "all rows"), self._within(self.config, share)
        if "half" not in done and self.halving and self._cheap and self.left > (seconds := self._half_seconds()):
            config = replace(self.config, data=replace(self.config.data, every=2 * self.config.data.every))
            timed = config if self.seconds == math.inf else replace(config, time=f"{seconds:.0f}s")
            return Stage("half", "the main stage with half of the rows, to see whether more rows would help"), timed
        if self.seconds == math.inf:
            return None
        deeper = image is not None and bool(self.config.freeze) and self.left > DEEPER and "deeper" not in done
        heard = image is not None and self.config.inputs[image].kind == "audio"
        number = len([name for name in done if name.startswith("again")]) + 1
        again = self.left > LEAST and number <= AGAIN and self.config.model.decoders.keys() <= WRITES_VALUES
        if again and not (deeper and heard):  # to recordings, an encoder of photos is worth more than another seed
            return self._again(number)
        if image is None or not self.config.freeze:
            return None
        if deeper:
            return self._deeper(image, "deeper", LAST_HEARD if heard else LAST, 0.4 if self.left > 2 * DEEPEST else 1.0)
        if self.left > DEEPEST and "deepest" not in done:
            return self._deeper(image, "deepest", 1.0, 1.0)
        return None

    def _first(self, image: str) -> tuple[Stage, RunConfig]:
        """Small images and few epochs, on as many images as can be encoded in half of the time."""
        config, cheaper = self.config, self.config.inputs[image].cheaper()
        first = replace(config, inputs={**config.inputs, image: cheaper}, epochs=min(5, config.epochs))
        heard = config.inputs[image].kind == "audio"
        rate = RECORDINGS_A_SECOND if heard else IMAGES_A_SECOND
        every = max(1, round(_count(config, image) * getattr(cheaper, "frames", 1) / (FIRST_SECONDS / 2 * rate)))
        first = replace(first, data=replace(first.data, every=every), time=f"{FIRST_SECONDS:.0f}s")
        evaluation = replace(first.evaluation, limit=min(300, first.evaluation.limit or 300))
        values, size = ("recordings", "short parts") if heard else ("images", "a small size")
        rows = f"all {values}" if every == 1 else f"1 of {every} {values}"
        return Stage("first", f"a model within a minute, from {rows} in {size}"), replace(first, evaluation=evaluation)

    def _again(self, number: int) -> tuple[Stage, RunConfig]:
        """The main stage with another seed and more regularisation, since it costs little where features are cached."""
        slower = replace(self.config.optimizer, learning_rate=self.config.optimizer.learning_rate / (1 + number))
        config = replace(self.config, seed=self.config.seed + number, optimizer=slower, epochs=round(1.5 * self.config.epochs))
        why = f"another seed, {config.epochs} epochs at learning rate {slower.learning_rate:.2g}"
        return Stage(f"again-{number}", why), self._within(config, 0.5)

    def _deeper(self, image: str, name: str, blocks: float, share: float) -> tuple[Stage, RunConfig]:
        """The encoder of images or recordings is trained, too, from the best model so far: the last of its blocks, or all."""
        config = deeper_run(self.config, self.folder / "best", image, blocks)
        kind = config.inputs[image].kind
        what = f"the last blocks of the {kind} encoder are" if blocks < 1 else f"the whole {kind} encoder is"
        values = "recordings" if kind == "audio" else "images"
        return Stage(name, f"{what} trained, too, on augmented {values}"), self._within(config, share)

    def _best_epoch(self) -> int:
        before = read_before(self.folder)
        return before.position.best_epoch if before else 0

    @property
    def _cheap(self) -> bool:
        """Whether a stage takes seconds, once the features of its images are cached."""
        return bool(self.config.cache_features) and self.config.model.decoders.keys() <= WRITES_VALUES

    def _half_seconds(self) -> float:
        """The seconds that half of the rows may take: those of the main stage, without its preparations."""
        records = read_log(self.folder / STAGES / "main" / "log.jsonl")
        return max(10.0, HALF * sum(record.get("seconds", 0.0) for record in records))

    def _halves(self) -> tuple[float, float] | None:
        """The main metric of the main stage with half of the rows, and with all; None if half was not trained."""
        by_name = {one.name: one.metric for one in self.progress.stages}
        half, main = by_name.get("half"), by_name.get("main")
        return None if half is None or main is None else (half, main)

    def _encoder_frozen(self) -> bool:
        """Whether a stage that trains the image encoder is left."""
        done = {stage.name for stage in self.progress.stages}
        return "deeper" not in done and _image(self.config) is not None and bool(self.config.freeze)

    def _within(self, config: RunConfig, share: float) -> RunConfig:
        return config if self.seconds == math.inf else replace(config, time=f"{max(10.0, share * self.left):.0f}s")

    def _train(self, stage: Stage, config: RunConfig) -> None:
        folder = self.folder / STAGES / stage.name
        limit = f"; at most {seconds_of(config.time):.0f} s" if config.time else ""
        self.watcher.on_note(f"stage {stage.name}: {stage.why}{limit}")
        started = time.monotonic()
        measures = stage.name == "half"  # its model is for nothing else
        before = next((one.metric for one in self.progress.stages if one.name == self.progress.best), None)
        keeping = self._silent() if measures else self._keeping(folder, config, before)
        try:
            outcome = train(config, folder, resume=(folder / CHECKPOINT).exists(), watcher=keeping)
        except UserError as error:
            if not measures:
                raise
            self.halving = False
            self.watcher.on_note(f"stage {stage.name} is left out: {error}")
            return
        self.steps += outcome.steps
        self.went_on = self.went_on or outcome.went_on
        done = replace(stage, metric=outcome.best, seconds=round(time.monotonic() - started, 1))
        better = not measures and (before is None or _as_good(config, outcome.best, before))
        first_model = self.progress.first_model or round(time.monotonic() - self.started, 1)
        stages = (*self.progress.stages, done)
        self.progress = Progress(stages, stage.name if better else self.progress.best, first_model)
        if better:
            self._keep(folder)
            self.outcome = outcome
        self.outcome = self.outcome or outcome
        self._write_progress()
        write_page(self.folder, self.watcher.on_note)
        (folder / CHECKPOINT).unlink(missing_ok=True)  # which only an unfinished stage needs
        shutil.rmtree(folder / "last", ignore_errors=True)
        kept = "kept" if better else "not kept" if measures else f"not better than {self.progress.best}"
        self.watcher.on_note(f"stage {stage.name}: {config.best} {outcome.best:.2f} after {done.seconds:.0f} s, {kept}")

    def _keeping(self, stage: Path, config: RunConfig, before: float | None) -> Watcher:
        """A watcher that copies each better model to the run's folder at once, so that a run that is stopped has the best one."""

        def keep(record: dict[str, Any]) -> None:
            if record["best"] and (before is None or _as_good(config, record[config.best], before)):
                self._keep(stage, AT_ONCE)
            self.watcher.on_epoch(record)

        return replace(self.watcher, on_epoch=keep)

    def _silent(self) -> Watcher:
        return Watcher(on_start=self.watcher.on_start, on_step=self.watcher.on_step)

    def _keep(self, stage: Path, names: Sequence[str] = COPIED) -> None:
        """Copy what the stage wrote to the run's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            source, target = stage / name, self.folder / name
            if source.is_dir():
                with whole(target) as fresh:
                    shutil.copytree(source, fresh)
            elif source.exists():
                shutil.copy2(source, target)
        settings = self.folder / "run.yaml"
        write_run(replace(read_run(settings), time=""), settings)  # the time was that of the stage


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Pass on every note the first time only: most stages would repeat those of the first."""
    said: set[str] = set()

    def pass_on(text: str) -> None:
        if text not in said:
            said.add(text)
            note(text)

    return pass_on


def _as_good(config: RunConfig, metric: float | None, before: float) -> bool:
    return metric is not None and (metric >= before if config.better == "higher" else metric <= before)


def plan_of(folder: Path) -> Path | None:
    """The settings of the main stage of a run in stages; None if the folder holds no such run."""
    path = folder / STAGES / PLAN
    return path if path.is_file() and (folder / LIST).is_file() else None


def _image(config: RunConfig) -> str | None:
    """The input whose frozen encoder's features are cached."""
    files = (name for name in config.model.encoders if config.inputs[name].suffixes)
    return next(files, None) if config.cache_features else None


def _count(config: RunConfig, image: str) -> int:
    """The number of different images in the training rows."""
    examples = open_dataset(config.data.path, config.data.columns).split(config.data.train)
    key = config.inputs[image].key
    return len({key(example.fields[image]) for example in examples if image in example.fields})


def _augmenting(config: RunConfig, image: str) -> Any:
    """The modality with augmentation; the images of an encoder that takes any size are made smaller."""
    modality: Any = config.inputs[image].augmenting()
    if modality.kind != "image" or getattr(config.model.encoders[image], "levels", None) is None:
        return modality
    return replace(modality, augmentation=replace(modality.augmentation, scale=SMALLER))


def _last_blocks(model: Path, part: str, share: float) -> list[str]:
    """The last of a part's numbered blocks (``encoders.image.features.22``); the part itself if it has none, or for all."""
    lists: dict[str, set[int]] = {}
    for name in read_bundle(model).weights():
        if found := re.match(rf"({re.escape(part)}[\w.]*?)\.(\d+)\.", name):
            lists.setdefault(found[1], set()).add(int(found[2]))
    if share == 1 or not lists:
        return [part]
    longest = max(lists, key=lambda name: len(lists[name]))
    blocks = sorted(lists[longest])
    return [f"{longest}.{block}" for block in blocks[-max(1, round(share * len(blocks))) :]]


def _all_parts(config: RunConfig) -> list[str]:
    encoders, decoders = config.model.encoders, config.model.decoders
    inside = [*(f"encoders.{name}" for name in encoders), *(f"projections.{name}" for name in encoders)]
    return [*inside, *(f"decoders.{name}" for name in decoders), "fusion"]
