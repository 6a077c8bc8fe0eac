"""What is said before the first step: the columns that are read, and what would train nothing, or something else than meant."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from braid.bundle import bundle_folder, read_bundle
from braid.datasets.checks import leaking_columns
from braid.modalities import TextModality
from braid.modalities.tabular import TabularModalityConfig, described
from braid.training.config import RunConfig
from braid.training.run import Run
from braid.training.setup import TaskData

COLUMNS = 8  # unread columns that are named
LOOKED_AT = 300  # rows of each task whose texts are measured
OFTEN = 0.2  # the share of texts that are cut from which it is told


def introduce(run: Run, config: RunConfig) -> None:
    """Say what a new run reads, and warn of what is odd about it; ``config`` has the settings as they were given."""
    if not run.group.leads or run.position.step:
        return
    for data in run.setup.tasks:
        _say_columns(run, data)
    for place, data in enumerate(run.setup.tasks):
        for message in _table_columns(run, data):
            run.warn(message)
        for leak in leaking_columns(data.train.examples):
            run.warn(f"{leak}; remove it, unless you know it before the label when you use the model")
        for message in (*_same_targets(data), *_alone_in_batches(run, place, data)):
            run.warn(message)
    for message in (*_long_texts(run), *_settings(config), *_random_parts(config)):
        run.warn(message)


def _say_columns(run: Run, data: TaskData) -> None:
    """Say which columns of a table are read, and as what, and how the data set is read where that is not plain."""
    inputs, others = run.setup.interface.inputs.keys(), (*data.task.target_fields, *data.task.setting_fields)
    reads = [role for role in data.columns if role in others or inputs & data.task.inputs_of({role: ""})]
    read = [f"{role}={data.columns[role]}" for role in reads]
    names = ", ".join(data.unused[:COLUMNS]) + (", ..." if len(data.unused) > COLUMNS else "")
    rest = f"; not read: {names}" if names else ""
    for text in data.said:
        run.watcher.on_note(f"{data.mixed.data.path}: {text}")
    if read:
        run.watcher.on_note(f"{data.mixed.data.path}: reads {', '.join(read)}{rest} (--columns ROLE=NAME changes a column)")


def _table_columns(run: Run, data: TaskData) -> Iterator[str]:
    """Say how the columns of tabular inputs are read; yield what is odd about them."""
    for name, config in run.setup.interface.inputs.items():
        if not isinstance(config, TabularModalityConfig):
            continue
        cells = (sample.inputs[name] for sample in data.train if name in sample.inputs)
        columns = described(cells, config.numbers, config.categories)
        shown = "; ".join(f"{one.column.name}: {one}" for one in columns[:COLUMNS]) + ("; ..." if len(columns) > COLUMNS else "")
        run.watcher.on_note(f"{data.mixed.data.path}: table columns: {shown}")
        yield from (one.unread or one.single for one in columns if one.unread or one.single)


def _same_targets(data: TaskData) -> Iterator[str]:
    """All training rows have the same target."""
    first = data.train[0].references
    if first and len(data.train) > 1 and all(sample.references == first for sample in islice(data.train, 1, None)):
        shown = ", ".join(map(repr, first[:3]))
        rows = f"all {len(data.train)} training rows of {data.task.kind}"
        yield f"{rows} have the same target, {shown}; nothing else can be learned"


def _alone_in_batches(run: Run, place: int, data: TaskData) -> Iterator[str]:
    """A contrastive loss compares the images of a batch, and no batch has two."""
    plan = run.mixture.plans[place]
    if data.mixed.objective.kind != "contrastive" or not data.mixed.together:
        return
    if all(len(np.unique(plan.images[rows])) < 2 for rows in plan.epoch(0)):
        yield f"no batch of {data.task.kind} has two images to compare, so nothing is learned; set a larger batch_size"


def _long_texts(run: Run) -> Iterator[str]:
    """Texts of which a model reads the beginning alone."""
    for name, modality in run.setup.collator.inputs.items():
        if isinstance(modality, TextModality):
            samples = (sample for data in run.setup.tasks for sample in islice(data.train, LOOKED_AT))
            texts = [text for sample in samples if isinstance(text := sample.inputs.get(name), str) and text]
            cut = sum(map(modality.cuts, texts))
            if cut > OFTEN * len(texts):
                yield (
                    f"{100 * cut / len(texts):.0f}% of the texts are longer than the {modality.max_length - 2} tokens that are "
                    f"read; --set inputs.{name}.max_length={2 * modality.max_length} reads more"
                )


def _settings(config: RunConfig) -> Iterator[str]:
    """Settings under which nothing is learned, or nothing measured."""
    if config.optimizer.learning_rate == 0:
        yield "optimizer.learning_rate is 0, so nothing is learned"
    for name, probability in config.input_dropout.items():
        if probability == 1:
            yield f"input_dropout.{name} is 1, so the model never reads its input {name!r} in training"
    for mixed in config.mixture:
        if getattr(mixed.objective, "label_smoothing", 0) == 1:
            yield f"objective.label_smoothing is 1, so the targets of {mixed.task.kind} are not learned"
        if mixed.data.train == mixed.data.val:
            yield f"data.val is {mixed.data.val!r}, which is also trained on; metrics on it do not tell of new rows"


def _random_parts(config: RunConfig) -> Iterator[str]:
    """Frozen parts that have no trained weights."""
    for start in config.freeze:
        part = start if start == "fusion" else ".".join(start.split(".")[:2])
        group, _, name = part.partition(".")
        members = getattr(config.model, group, {}) if group in ("encoders", "decoders") else {}
        trained = part in config.initialize or bool(getattr(members.get(name), "source", ""))
        if (name in members or part == "fusion") and not trained:
            yield (
                f"{start} is frozen with random weights; give it trained ones with initialize: {{{part}: small}}, "
                "or do not freeze it"
            )
        new = getattr(members.get(name), "levels", None) is not None and not _has_levels(config.initialize.get(part, ""), name)
        if part == start and trained and new:
            yield f"{start} is frozen with its new levels, which stay random; freeze {start}.features instead"


def _has_levels(source: str, encoder: str) -> bool:
    """Whether an encoder of a saved model has levels, so that a run which begins with it has trained ones."""
    folder = bundle_folder(source)
    architecture = read_bundle(folder).architecture if folder else None
    return bool(((architecture or {}).get("encoders", {}).get(encoder) or {}).get("levels"))
