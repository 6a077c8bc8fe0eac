"""Build everything that the training loop needs from a RunConfig: samples, tokenizers, model, pretrained parts."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from braid.bundle import Bundle, Interface, Source, bundle_folder, find_bundle, read_bundle
from braid.collate import Collator
from braid.config import did_you_mean, named, to_dict
from braid.datasets import Dataset, Rows, SkippedRow, open_dataset
from braid.encoders import load_weights
from braid.errors import UserError
from braid.files import writable
from braid.huggingface import hub
from braid.layers.attention import SharedTokenEmbedding, TokenEmbedding
from braid.modalities import (
    AudioModalityConfig,
    EncodedModality,
    InputModality,
    InputModalityConfig,
    Tokenizer,
    VideoModalityConfig,
    build_modalities,
    tokenizer_names,
)
from braid.model import Model
from braid.records import Sample
from braid.runtime.device import find_device
from braid.runtime.torch import load_model
from braid.tasks import Task
from braid.training.config import MixedTask, RunConfig, input_weights
from braid.training.data import Mixture, Plan, Samples, lengths, shared_numbers, with_targets
from braid.training.optimizer import freeze


@dataclass(frozen=True)
class TakenOver:
    """A run in which the settings of pretrained parts are filled in, and modalities have the preprocessing that these parts need.

    ``tokenizers`` come with the pretrained parts; ``folders`` maps a part's name in the model to the folder of its weights.
    """

    config: RunConfig
    tokenizers: dict[str, Tokenizer]
    folders: dict[str, Path]

    def fill(self, model: Model) -> None:
        for name, folder in self.folders.items():
            model.get_submodule(name).load(folder)  # type: ignore[operator]


def take_over(config: RunConfig, *samples: Iterable[Sample]) -> TakenOver:
    """Read the settings of a run's pretrained parts from their sources.

    Args:
        samples: the training samples of each task, for parts that must know the texts that they will read.
    Raises:
        UserError: naming the source that cannot be found, read, or used for this part.
    """
    tokenizers: dict[str, Tokenizer] = {}
    folders: dict[str, Path] = {}
    taken: dict[str, dict[str, Any]] = {}
    changed: dict[str, Any] = {"inputs": dict(config.inputs), "outputs": dict(config.outputs)}
    groups: tuple[tuple[str, Any, Any], ...] = (
        ("encoders", config.model.encoders, config.inputs),
        ("decoders", config.model.decoders, config.outputs),
        ("codecs", config.model.codecs, config.outputs),
    )
    for group, parts, modalities in groups:
        taken[group] = dict(parts)
        for name, part in parts.items():
            source = getattr(part, "source", "")
            if not source or name not in modalities:
                continue
            folder = folders[f"{group}.{name}"] = hub.find(source)
            result, modality, brought = part.taken_over(folder, modalities[name], f"{name}.tokenizer", _texts_of(samples, name))
            taken[group][name] = result
            changed["inputs" if group == "encoders" else "outputs"][name] = modality
            tokenizers |= brought
    model = replace(config.model, encoders=taken["encoders"], decoders=taken["decoders"], codecs=taken["codecs"])
    made_from = [Source(folder.name, f"first weights of {name}", "those of its authors") for name, folder in folders.items()]
    card = replace(config.card, sources=(*config.card.sources, *made_from))
    whole = replace(config, model=model, **changed, card=card)
    return TakenOver(whole, tokenizers, folders)


def _texts_of(samples: Iterable[Iterable[Sample]], name: str) -> Iterator[str]:
    """The texts of one input, read lazily."""
    values = (sample.inputs.get(name) for sample in chain.from_iterable(samples))
    return (value for value in values if isinstance(value, str))


T = TypeVar("T")
LOOKED_AT = 100  # rows in which sounds are compared with clips


@dataclass(frozen=True)
class TaskData:
    """One task of a run and its rows. ``val`` holds examples, because the evaluation prepares samples itself.

    ``columns``: of the table, by role; ``unused``: columns without a role; ``said``: what a user should know of the data.
    """

    mixed: MixedTask
    train: Samples
    val: Rows
    columns: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        return self.mixed.task


@dataclass(frozen=True)
class Setup:
    """A run before its first step; the settings of pretrained parts are filled in. The main task comes first."""

    config: RunConfig
    tokenizers: dict[str, Tokenizer]
    interface: Interface
    model: Model
    tasks: tuple[TaskData, ...]
    skipped: tuple[SkippedRow, ...]
    device: torch.device

    @property
    def collator(self) -> Collator:
        """The collator without augmentation, as used for evaluation and prediction."""
        return Collator(
            build_modalities(self.interface.inputs, self.tokenizers), build_modalities(self.interface.outputs, self.tokenizers)
        )

    @property
    def augmented(self) -> Mapping[str, InputModality]:
        """The inputs with the run's augmentation."""
        return build_modalities({name: self.config.inputs[name] for name in self.interface.inputs}, self.tokenizers)

    def augmenting(self, collator: Collator) -> Collator:
        """The same collator with the run's augmentation; cached features stay as they are."""
        inputs = {name: one for name, one in self.augmented.items() if name in collator.inputs}
        kept = {name: one for name, one in collator.inputs.items() if isinstance(one, EncodedModality)}
        outputs = build_modalities({name: self.config.outputs[name] for name in collator.outputs}, self.tokenizers)
        return Collator({**inputs, **kept}, outputs)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the texts that the model writes; None if it writes none."""
        names = tokenizer_names(self.interface.outputs)
        return self.tokenizers[names[0]] if names else None


def set_up(config: RunConfig) -> Setup:
    """Open the data, train or load the tokenizers, build the model with the run's seed, and load and freeze weights."""
    torch.set_num_threads(config.threads)
    device = find_device(config.device)
    datasets = [open_dataset(mixed.data.path, mixed.data.columns) for mixed in config.mixture]
    skipped = tuple(row for dataset in datasets for row in dataset.skipped)
    if config.strict and skipped:
        raise UserError(f"{skipped[0].source}: {skipped[0].reason}")
    tasks = tuple(_rows(mixed, dataset, config.inputs) for mixed, dataset in zip(config.mixture, datasets, strict=True))
    taken = take_over(config, *(data.train for data in tasks))
    config = taken.config
    config = fitted(config, tasks)
    interface = _interface(config, tasks, [Path(one.path).name for one in datasets])
    tokenizers = _tokenizers(config, tasks, tokenizer_names(interface.inputs, interface.outputs), taken.tokenizers)
    torch.manual_seed(config.seed)
    model = config.model.build(build_modalities(interface.inputs, tokenizers), build_modalities(interface.outputs, tokenizers))
    taken.fill(model)
    read = lru_cache(maxsize=1)(_saved)  # most runs take all their parts from one model
    for part, path in config.initialize.items():
        initialize(model, part, path, _tokenizer_of(part, interface, tokenizers), read)
    freeze(model, config.scales)
    return Setup(config, tokenizers, interface, model.to(device), tasks, skipped, device)


def mixture_of(setup: Setup) -> Mixture:
    """Plan the batches of each task; the main task uses the run's seed itself."""
    config = setup.config
    plans = []
    for place, data in enumerate(setup.tasks):
        seed = int(np.random.SeedSequence((config.seed, place)).generate_state(1)[0]) if place else config.seed
        images = shared_numbers(data.train, config.inputs) if data.mixed.together else np.arange(len(data.train))
        plans.append(Plan(lengths(data.train, setup.collator), images, data.mixed.batch_size, seed))
    weights = [[data.mixed.weight_in(epoch, config.epochs) for data in setup.tasks] for epoch in range(config.epochs)]
    counts = tuple(tuple(round(weight * plans[0].batches) for weight in epoch) for epoch in weights)
    return Mixture(tuple(plans), counts)


def _rows(mixed: MixedTask, dataset: Dataset, inputs: Mapping[str, InputModalityConfig]) -> TaskData:
    data = mixed.data
    train_examples = _limited(dataset.split(data.train), data.limit_train)
    val = _limited(dataset.split(data.val), data.limit_val)
    mixed = replace(mixed, task=mixed.task.fitted_to(train_examples))
    train = with_targets(mixed.task, train_examples)
    if data.every > 1 and len(train):
        numbers = shared_numbers(train, inputs)
        mixed_up = np.random.default_rng(0).permutation(int(numbers.max()) + 1)  # rows may be in the order of their labels
        train = replace(train, examples=train.examples.take(np.flatnonzero(mixed_up[numbers] % data.every == 0)))
    if not train:
        where = "".join(f"; map the column that has it with --columns {role}=NAME" for role in mixed.task.target_fields[:1])
        where = where if dataset.columns else f", because it is a {dataset.format}; give a table with a column of them"
        raise UserError(f"{data.path}: no row of split {data.train!r} has a target for {mixed.task.kind}{where}")
    return TaskData(mixed, train, val, dataset.columns, dataset.unused, dataset.said)


def fitted(config: RunConfig, tasks: Sequence[TaskData]) -> RunConfig:
    """The run with its modalities fitted on the training rows: labels, means, categories.

    Raises:
        UserError: naming the data set, when its rows do not allow it.
    """
    outputs, inputs = dict(config.outputs), dict(config.inputs)
    for data in tasks:
        name = data.task.decoder
        targets = (sample.targets[name] for sample in data.train)
        if name in outputs:
            with named(f"{data.mixed.data.path}, split {data.mixed.data.train!r}"):
                outputs[name] = outputs[name].fitted(targets, data.train.several)
    for name in config.model.encoders:
        values = (sample.inputs[name] for data in tasks for sample in data.train if name in sample.inputs)
        if name in inputs:
            with named(tasks[0].mixed.data.path):
                inputs[name] = inputs[name].fitted(values)
    inputs |= _hearing_clips(inputs, tasks)
    return replace(config, inputs=inputs, outputs=outputs)


def _hearing_clips(inputs: Mapping[str, InputModalityConfig], tasks: Sequence[TaskData]) -> dict[str, InputModalityConfig]:
    """The inputs that hear what others show: in every training row that has both, they are the same file."""
    clips = [name for name, config in inputs.items() if isinstance(config, VideoModalityConfig)]
    rows = [sample.inputs for data in tasks for sample in islice(data.train, LOOKED_AT)]
    result: dict[str, InputModalityConfig] = {}
    for name, config in inputs.items():
        if isinstance(config, AudioModalityConfig):
            for clip in clips:
                both = [row for row in rows if name in row and clip in row]
                if both and all(row[name] == row[clip] for row in both):
                    result[name] = replace(config, sound_of=clip)
    return result


def _saved(folder: Path) -> tuple[Bundle, Model]:
    bundle = read_bundle(folder)
    return bundle, load_model(bundle)


def initialize(
    model: Model,
    part: str,
    path: str,
    tokenizer: Tokenizer | None = None,
    read: Callable[[Path], tuple[Bundle, Model]] = _saved,
) -> None:
    """Initialize one part, such as ``encoders.image`` or ``decoders.text``, from a weight file or a saved model.

    Parameters that the saved model lacks, or that have another shape there, keep their random values. At least half of the
    part's parameters must fit. Recordings and clips that the saved model does not read take the place of its images: an encoder
    that holds an image encoder takes that.

    Args:
        tokenizer: of the texts that the part reads or writes. If the saved model has another one, each token begins with the mean
            of the vectors that its text has there.
        read: gives the saved model of a folder.
    """
    if part not in _parts(model):
        raise UserError(f"initialize names {part!r}; {did_you_mean(part, _parts(model))}")
    module: Any = model.get_submodule(part)
    folder = bundle_folder(path)
    if folder is None:
        load_weights(module, Path(path))
        return
    bundle, source = read(folder)
    given = part if part in _parts(source) else _read_as_image(part)
    if given != part and part.startswith("encoders."):
        module = getattr(module, "frame", None)
    if given not in _parts(source) or module is None:
        raise UserError(f"initialize: the model {path} has no {part}")
    own, other = module.state_dict(), source.get_submodule(given).state_dict()
    if tokenizer is not None and bundle.tokenizer is not None:
        other = other | _token_vectors(module, source.get_submodule(given), tokenizer, bundle.tokenizer)
    if given == "fusion":
        other = other | {name: other[image] for name in own if name not in other and (image := _read_as_image(name)) in other}
    fitting = {name: value for name, value in other.items() if name in own and own[name].shape == value.shape}
    if len(fitting) < 0.5 * len(own):
        raise UserError(
            f"initialize: only {len(fitting)} of {len(own)} parameters of {part} fit those of {path}; use the same sizes in both"
        )
    module.load_state_dict({**own, **fitting})


def _tokenizer_of(part: str, interface: Interface, tokenizers: Mapping[str, Tokenizer]) -> Tokenizer | None:
    group, _, name = part.partition(".")
    sides: dict[str, Mapping[str, Any]] = {"encoders": interface.inputs, "decoders": interface.outputs}
    modality = sides.get(group, {}).get(name)
    return tokenizers.get(getattr(modality, "tokenizer", ""))


def _read_as_image(name: str) -> str:
    """The part, or the parameter, of images that stands for one of recordings or clips."""
    return re.sub(r"\.(video|audio)$", ".image", name)


@torch.no_grad()
def _token_vectors(module: Any, source: Any, tokenizer: Tokenizer, other: Tokenizer) -> dict[str, torch.Tensor]:
    """The token embedding of ``source`` for the tokens of another tokenizer; {} where a part has none of its own."""
    own, given = getattr(module, "embedding", None), getattr(source, "embedding", None)
    if not isinstance(own, TokenEmbedding) or not isinstance(given, TokenEmbedding | SharedTokenEmbedding):
        return {}
    vectors = given.table()
    if tokenizer.vocabulary != other.vocabulary:
        fresh = own.tokens.weight.clone()
        for ours, theirs in zip(tokenizer.special, other.special, strict=True):
            if ours is not None and theirs is not None:
                fresh[ours] = vectors[theirs]
        for token in range(min(tokenizer.vocab_size, len(fresh))):
            if pieces := other.encode(tokenizer.decode([token])):
                fresh[token] = vectors[pieces].mean(0)
        vectors = fresh
    return {"embedding.tokens.weight": vectors}


def _parts(model: Model) -> list[str]:
    named = [f"{group}.{name}" for group in ("encoders", "projections", "decoders", "codecs") for name in getattr(model, group)]
    return [*named, "fusion"]


def _limited(examples: Rows, limit: int) -> Rows:
    return examples[:limit] if limit else examples


def _tokenizers(
    config: RunConfig, tasks: Sequence[TaskData], names: Sequence[str], brought: Mapping[str, Tokenizer]
) -> dict[str, Tokenizer]:
    """The tokenizers that the modalities name: from pretrained parts, from another model, or trained on the texts of all
    tasks."""
    result = dict(brought)
    if config.tokenizer.bundle:
        result = {**read_bundle(find_bundle(config.tokenizer.bundle)).tokenizers, **result}
    elif "tokenizer" in names:
        result["tokenizer"] = Tokenizer.train(_texts(config, tasks), config.tokenizer.vocab_size, config.tokenizer.lowercase)
    missing = [name for name in names if name not in result]
    if missing:
        raise UserError(f"there is no tokenizer {missing[0]!r} in this run; {did_you_mean(missing[0], list(result))}")
    return {name: result[name] for name in names}


def _texts(config: RunConfig, tasks: Iterable[TaskData]) -> Iterator[str]:
    """The texts that the run's own tokenizer is trained on: first the targets, then the inputs."""
    sides = (config.outputs, config.inputs)
    written, read = ([name for name, one in side.items() if getattr(one, "tokenizer", "")] for side in sides)
    for data in tasks:
        for sample in data.train:
            for name in written:
                yield from sample.targets.get(name, ())
        for sample in data.train:
            yield from (sample.inputs[name] for name in read if isinstance(sample.inputs.get(name), str))


def _interface(config: RunConfig, tasks: Sequence[TaskData], data: Sequence[str]) -> Interface:
    inputs = {name: _modality(name, config.inputs, "inputs").in_use() for name in config.model.encoders}
    written = {**config.model.decoders, **config.model.codecs}
    outputs = {name: _modality(name, config.outputs, "outputs").in_use() for name in written}
    subsets = {subset for data in tasks for subset in _seen(data, tuple(inputs), tuple(config.input_dropout))}
    trained_on = tuple(sorted(sorted(subsets), key=len, reverse=True))
    name = ", ".join(f"{data.task.kind} on {Path(data.mixed.data.path).stem}" for data in tasks)
    card = replace(config.card, name=config.card.name or writable(name))
    starts = {folder for path in config.initialize.values() if (folder := bundle_folder(path))}
    known = [name for folder in sorted(starts) for name in read_bundle(folder).interface.data]
    names = tuple(dict.fromkeys([*known, *map(writable, data)]))
    return Interface(inputs, outputs, {data.task.kind: to_dict(data.task) for data in tasks}, trained_on, card, names)


def _seen(data: TaskData, inputs: Sequence[str], dropped: Sequence[str]) -> set[tuple[str, ...]]:
    """The subsets of inputs that occur together in a task's training rows; in retrieval each side occurs alone."""
    if data.task.sides:
        return {(name,) for name in data.task.sides if name in inputs}
    whole = {tuple(name for name in inputs if name in sample.inputs) for sample in data.train}
    whole |= {(name,) for seen in whole for name in input_weights(data.mixed.objective) if name in seen}
    return whole | {tuple(name for name in seen if name != lost) for seen in whole for lost in dropped if lost in seen}


def _modality(name: str, modalities: Mapping[str, T], section: str) -> T:
    if name not in modalities:
        raise UserError(
            f"the model reads or writes {name!r}, which {section} does not describe; {did_you_mean(name, list(modalities))}"
        )
    return modalities[name]
