"""RunConfig: one training run (task, data, model, optimizer), read from one YAML file, strictly."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from braid.bundle import DataCard, bundle_folder, find_bundle, read_bundle
from braid.config import did_you_mean, from_dict, kinds, parse_yaml, plain_names, to_dict, with_overrides, within, yaml_problem
from braid.datasets import roles_of_data
from braid.errors import UserError
from braid.files import regular, shipped, write_whole
from braid.files.text import read_text
from braid.modalities import (
    EmbeddingModalityConfig,
    ImageModalityConfig,
    InputModalityConfig,
    LabelsModalityConfig,
    NumberModalityConfig,
    OutputModalityConfig,
    TextModalityConfig,
    default_inputs,
)
from braid.model import ModelConfig
from braid.objectives import LikelihoodConfig, ObjectiveConfig
from braid.presets import BOTH, PRESETS, codec
from braid.sinks import SinkConfig
from braid.tasks import MEAN, Task, task_named, too_long
from braid.training.sections import AUTO, DataConfig, EvaluationConfig, OptimizerConfig, TokenizerConfig, seconds_of

SEVERAL = 3  # inputs from which on each is also learned alone
DROPPED, ALONE = 0.1, 0.2  # then: the probability that a row loses an input, and the weight of an input's own loss


def default_outputs() -> dict[str, OutputModalityConfig]:
    return {
        "text": TextModalityConfig(max_length=40),
        "label": LabelsModalityConfig(),
        "answer": LabelsModalityConfig(),
        "number": NumberModalityConfig(),
        "embedding": EmbeddingModalityConfig(),
        "image": ImageModalityConfig(size=128),
    }


@dataclass(frozen=True)
class MixedTask:
    """One of a run's tasks.

    Args:
        task: the task, by name or as a section with its settings.
        data: what to train it on.
        objective: what it is trained by; the usual one of the task.
        batch_size: rows of one of its batches.
        together: put rows that share an image into one batch, so that it is encoded once.
        weight: its batches for every batch of the main task; with 0 it is evaluated and not trained.
        final_weight: the weight of the last epoch, which the weight reaches evenly; null keeps it.
    """

    task: Task
    data: DataConfig
    objective: ObjectiveConfig = field(default_factory=LikelihoodConfig)
    batch_size: int = 32
    together: bool = True
    weight: float = 1.0
    final_weight: float | None = None

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "batch_size")
        within(self, 0, 1000, "weight", *(["final_weight"] if self.final_weight is not None else []))

    def weight_in(self, epoch: int, epochs: int) -> float:
        """The weight in epoch ``epoch`` (from 0) of ``epochs``."""
        if self.final_weight is None:
            return self.weight
        return self.weight + (self.final_weight - self.weight) * epoch / max(epochs - 1, 1)


@dataclass(frozen=True)
class RunConfig:
    """A training run.

    Args:
        task: the main task, by name or as a section with its settings; its batches make an epoch.
        data: what to train on.
        model: the architecture: a preset's name (quick, compact, classic, tiny) or a section.
        inputs: how each input of the model is read, by name.
        outputs: what each output of the model is, by name.
        tokenizer: how texts become tokens.
        objective: what the main task is trained by; the usual one of the task.
        tasks: tasks trained beside the main one, each of another kind.
        optimizer: how weights change.
        evaluation: what happens after each epoch.
        initialize: parts (``encoders.image``) to weight files or model folders; a folder alone initializes
            every part that both models have.
        freeze: parts that are not trained: ``[encoders.image]``. ``image`` alone stands for the only part of that name.
        epochs: passes over the training rows of the main task.
        time: what the run may take, such as ``10m`` or ``1h``: it makes fewer epochs if not all fit; "" sets no limit.
        batch_size: rows of a batch.
        together: put rows that share an image into one batch, so that it is encoded once.
        workers: processes that read and prepare rows; 0 prepares them in the training process.
        threads: processor threads that torch computes with.
        device: cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
        seed: of all random numbers; the same seed gives the same weights.
        precision: of the computation; weights stay float32.
        sharded: let several processes share parameters, gradients and optimizer state (FSDP2).
        cache_features: a folder that keeps the features of frozen image encoders, so that each image is encoded once; ``auto`` is
            a folder that all your runs share; "" keeps none. Of an encoder with frozen first blocks, it keeps what they give.
        cached_views: augmented versions of each training image that ``cache_features`` keeps; each row draws one of them.
        input_dropout: inputs to the probability that a training row loses them, so that missing inputs are learned. A model
            with three inputs or more has 0.1 for each, unless you set it; ``{}`` keeps all inputs.
        ema: decay of a moving average of the weights; 0 keeps none.
        checkpoint_steps: steps between two checkpoints.
        keep: save the models of the last so many epochs, as epoch-1/, epoch-2/, ..., for ``braid average``.
        half: save models in float16.
        strict: stop at the first row that cannot be read.
        sinks: services that also get the log.
        card: what the saved model says about itself.
    """

    task: Task
    data: DataConfig
    model: ModelConfig
    inputs: dict[str, InputModalityConfig] = field(default_factory=default_inputs)
    outputs: dict[str, OutputModalityConfig] = field(default_factory=default_outputs)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    objective: ObjectiveConfig = field(default_factory=LikelihoodConfig)
    tasks: tuple[MixedTask, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    initialize: dict[str, str] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    epochs: int = 10
    time: str = ""
    batch_size: int = 32
    together: bool = True
    workers: int = 1
    threads: int = 2
    device: str = "auto"
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    sharded: bool = False
    cache_features: str = ""
    cached_views: int = 0
    input_dropout: dict[str, float] = field(default_factory=dict)
    ema: float = 0.0
    checkpoint_steps: int = 100
    keep: int = 0
    half: bool = False
    strict: bool = False
    sinks: tuple[SinkConfig, ...] = ()
    card: DataCard = field(default_factory=DataCard)

    def __post_init__(self) -> None:
        within(self, 1, math.inf, "epochs", "batch_size", "checkpoint_steps", "threads")
        within(self, 0, math.inf, "workers", "seed", "keep")
        within(self, 0, 1000, "cached_views")
        within(self, 0, 1, "ema")
        seconds_of(self.time)
        if self.cache_features not in ("", AUTO) and self.augmented and not self.cached_views:
            message = f"cache_features is set, and inputs.{self.augmented[0]}.augmentation changes images at random"
            raise UserError(f"{message}; set cached_views: 4 to keep four versions of each, or remove one of the two")
        if self.cached_views and not (self.cache_features and self.augmented):
            raise UserError("cached_views needs cache_features, and an input with augmentation; set both, or leave it out")
        varied = [name for name, encoder in self.model.encoders.items() if getattr(encoder, "reconstruction_probability", 0)]
        if self.cache_features not in ("", AUTO) and varied:
            message = f"cache_features is set, and encoders.{varied[0]}.reconstruction_probability changes images at random"
            raise UserError(f"{message}; remove one of the two")
        plain_names("an input", self.inputs)
        plain_names("an output", self.outputs)
        tasks = [mixed.task.kind for mixed in self.mixture]
        if len(tasks) > len(set(tasks)):
            raise UserError(f"{max(tasks, key=tasks.count)} is listed twice among the tasks of this run; list each task once")
        for place, mixed in enumerate(self.mixture):
            self._check(mixed.task, f"tasks.{place - 1}.task" if place else "task")
            if mixed.objective.kind == "contrastive" and mixed.batch_size < 2:
                where = f"tasks.{place - 1}.batch_size" if place else "batch_size"
                raise UserError(f"{where} is 1; {mixed.task.kind} learns by comparing the rows of a batch, so set 2 or more")
        sinks = [sink.kind for sink in self.sinks]
        if len(sinks) > len(set(sinks)):
            raise UserError(f"sinks lists {max(sinks, key=sinks.count)} twice; list each once")
        unknown = [name for name in self.input_dropout if name not in self.model.encoders]
        if unknown:
            raise UserError(f"input_dropout names {unknown[0]!r}; {did_you_mean(unknown[0], list(self.model.encoders))}")
        for name, probability in self.input_dropout.items():
            if not 0 <= probability <= 1:
                raise UserError(f"input_dropout.{name} is {probability:g}; it must be 0 to 1")
        for name in (name for mixed in self.mixture for name in input_weights(mixed.objective)):
            if name not in self.model.encoders:
                raise UserError(f"objective.input_weights names {name!r}; {did_you_mean(name, list(self.model.encoders))}")

    def _check(self, task: Task, where: str) -> None:
        group, parts = task.part.removesuffix("s"), getattr(self.model, task.part)
        missing = [name for name in task.decoders if name not in parts]
        if missing:
            names = did_you_mean(missing[0], list(parts))
            raise UserError(f"{task.kind} needs a {group} {missing[0]!r}, which the model does not have; {names}")
        if message := too_long(task, self.outputs):
            raise UserError(f"{where}.generation.max_length is {message}")

    @property
    def augmented(self) -> list[str]:
        """The inputs that are changed at random."""
        return [name for name in self.model.encoders if getattr(self.inputs.get(name), "augmentation", None)]

    @property
    def mixture(self) -> tuple[MixedTask, ...]:
        """Every task of the run, the main one first."""
        return (MixedTask(self.task, self.data, self.objective, self.batch_size, self.together), *self.tasks)

    @property
    def scales(self) -> dict[str, float]:
        """Starts of parameter names to factors on their learning rate, 0 for what ``freeze`` names."""
        return {**self.optimizer.scales, **dict.fromkeys(self.freeze, 0.0)}

    @property
    def best(self) -> str:
        """The metric that chooses the best epoch: the task's main metric, or the mean of several tasks (``braid.tasks.MEAN``)."""
        return MEAN if self.tasks else self.task.main_metric

    @property
    def better(self) -> Literal["higher", "lower"]:
        return "higher" if self.tasks else self.task.better


def read_run(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a run's YAML file and apply ``--set`` overrides. A preset (``model: small``) is expanded to its full settings.

    Raises:
        UserError: naming the file and the setting.
    """
    return run_from(read_yaml(path, "run", "task, data and model", ", or --task and --data"), settings, str(path))


def read_yaml(path: Path, kind: str, needs: str, instead: str = "") -> dict[str, Any]:
    """Read the top-level sections of a YAML file; ``kind``, ``needs`` and ``instead`` are for messages.

    Raises:
        UserError: naming the file and what it needs.
    """
    file = regular(shipped(path))
    try:
        text = read_text(file)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a {kind}'s YAML file{instead}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a {kind}'s YAML file") from None
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML, {yaml_problem(error)}; correct the line") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; write a {kind} as in the README") from None
    except UserError as error:
        raise UserError(f"{path} {str(error).removeprefix(f'{path} ')}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} is not a {kind}; it needs {needs}")
    return data


def run_from(data: Mapping[str, Any], settings: Sequence[str] = (), where: str = "run") -> RunConfig:
    """Build a run from nested dicts. Presets are expanded before the overrides, so that every part of them can be set."""
    whole = with_overrides(data, ())
    for section in (whole, *_task_sections(whole)):
        _expand_task(section)
    if isinstance(whole.get("model"), str):
        whole["model"] = preset(whole["model"], *outputs_and_inputs(whole, settings))
    for name, modalities in (("inputs", default_inputs()), ("outputs", default_outputs())):
        whole.setdefault(name, to_dict(modalities))
    whole = with_overrides(whole, settings)
    for section in _task_sections(whole):
        _expand_task(section)
    if isinstance(whole.get("initialize"), dict):
        whole["initialize"] = _flat_parts(whole["initialize"])
    _expand_initialize(whole)
    _expand_freeze(whole)
    _add_codecs(whole)
    if isinstance(whole.get("sinks"), list):  # a name alone is a sink with its default settings
        whole["sinks"] = [{"kind": sink} if isinstance(sink, str) else sink for sink in whole["sinks"]]
    _expand_inputs(whole)
    try:
        return from_dict(RunConfig, whole, where)
    except UserError as error:
        nearly = "train|trainable|frozen|freeze|fixed|requires_grad"
        if re.search(rf"has no setting '({nearly})'|\.freeze is ", str(error)) or (
            "has no setting" in str(error) and any(re.search(rf"\b({nearly})=|=frozen\b", one) for one in settings)
        ):
            raise UserError(f"{error}. To freeze a part, write freeze: [encoders.image]") from None
        raise


def preset(name: str, outputs: Sequence[str] = ("text",), inputs: Sequence[str] = BOTH) -> dict[str, Any]:
    """A preset as nested dicts, with one encoder per input and one decoder per output. Without outputs it is a codec alone."""
    if name not in PRESETS and bundle_folder(name) is not None:
        hint = "; its old preset is called compact" if name == "small" else ""
        raise UserError(f"{name!r} is a saved model, not a preset; begin with it by --start {name}{hint}")
    if name not in PRESETS:
        raise UserError(f"there is no preset {name!r}; {did_you_mean(name, list(PRESETS))}")
    return dict(to_dict(PRESETS[name](inputs, outputs=outputs) if outputs else codec()))


def _task_sections(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of ``tasks`` that are sections."""
    tasks = whole.get("tasks")
    return [section for section in tasks if isinstance(section, dict)] if isinstance(tasks, list) else []


def _expand_task(section: dict[str, Any]) -> None:
    """Expand a task that is given by name alone, and add its default objective."""
    task = section.get("task")
    if isinstance(task, str):
        named = task_named(task)
        task = section["task"] = {name: value for name, value in to_dict(named).items() if name != "sides"}
    if isinstance(task, dict):
        known = kinds(Task).get(str(task.get("kind")))
        if known is not None and known.sides and "sides" not in task:
            task["sides"] = _sides_of_data(known(), section.get("data"))
        section.setdefault("objective", {"kind": known.objectives[0] if known else "likelihood"})


def _sides_of_data(task: Task, data: Any) -> list[str]:
    """The sides of a task that compares a value with its text: the image, or what a data set without images has instead."""
    roles = _roles(data) or ()
    described = next((role for role in (task.sides[0], "video", "audio") if role in roles), task.sides[0])
    return [described, *task.sides[1:]]


def _roles(data: Any) -> list[str] | None:
    """The roles of a data set's columns, if they can be known without reading its rows."""
    path, columns = (data.get("path"), data.get("columns") or {}) if isinstance(data, Mapping) else (None, {})
    return roles_of_data(path, columns) if isinstance(path, str) and isinstance(columns, Mapping) else None


def outputs_and_inputs(whole: Mapping[str, Any], settings: Sequence[str]) -> tuple[list[str], list[str]]:
    """The outputs and the inputs that the tasks need, after ``settings`` are applied; no duplicates."""
    own = [setting for setting in settings if setting.startswith(("task.", "tasks.", "tasks=", "data."))]
    sections = {"task": whole.get("task"), "tasks": whole.get("tasks", []), "data": whole.get("data", {})}
    _expand_task(sections)  # ``task.closed=true`` changes a section
    given = with_overrides(sections, own)
    outputs: dict[str, None] = {}
    inputs: dict[str, None] = {}
    for place, section in enumerate((given, *_task_sections(given)), -1):
        _expand_task(section)
        task: Task = from_dict(Task, section.get("task"), f"tasks[{place}].task" if place >= 0 else "task")
        outputs |= dict.fromkeys(task.decoders) if task.part == "decoders" else {}
        inputs |= dict.fromkeys(inputs_of_data(task, section.get("data")))
    return list(outputs), list(inputs) or list(BOTH)


def inputs_of_data(task: Task, data: Any) -> list[str]:
    """The inputs that a task reads from a data set's columns; image and prompt, if the columns are not known yet."""
    roles = _roles(data)
    return list(BOTH) if roles is None else list(task.inputs_of(dict.fromkeys(roles)))


def _flat_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten ``{codecs: {image: RUN}}``, which ``--set initialize.codecs.image=RUN`` gives, to ``{codecs.image: RUN}``."""
    result: dict[str, Any] = {}
    for name, value in parts.items():
        inner = _flat_parts(value) if isinstance(value, dict) else None
        result |= {name: value} if inner is None else {f"{name}.{part}": one for part, one in inner.items()}
    return result


def _expand_freeze(whole: dict[str, Any]) -> None:
    """Expand ``freeze: image`` to ``freeze: [encoders.image]``."""
    named, model = whole.get("freeze"), whole.get("model")
    if not isinstance(named, str | list) or not isinstance(model, dict):
        return
    names = re.split(r"[,\s]+", named.strip()) if isinstance(named, str) else named
    parts = [part for part in _parts(model) if not part.startswith("projections.")]
    result = []
    for name in names:
        matching = [part for part in parts if part.partition(".")[2] == name]
        result.append(matching[0] if len(matching) == 1 else name)
    whole["freeze"] = result


def _expand_inputs(whole: dict[str, Any]) -> None:
    """The usual settings of a model with several inputs: each may be missing in training, and each has a loss of its own, so that
    none stays unused. Retrieval, whose objective is another one, always reads its inputs apart."""
    model, objectives = whole.get("model"), [section.get("objective") for section in (whole, *_task_sections(whole))]
    names = list(model.get("encoders") or {}) if isinstance(model, dict) else []
    if len(names) < SEVERAL or any(isinstance(one, dict) and one.get("kind") != "likelihood" for one in objectives):
        return
    whole.setdefault("input_dropout", dict.fromkeys(names, DROPPED))
    for one in objectives:
        if isinstance(one, dict):
            one.setdefault("input_weights", dict.fromkeys(names, ALONE))


def input_weights(objective: ObjectiveConfig) -> dict[str, float]:
    """The weight of each input's own loss."""
    return objective.input_weights if isinstance(objective, LikelihoodConfig) else {}


def _expand_initialize(whole: dict[str, Any]) -> None:
    """Expand ``initialize: MODEL`` to one entry per part."""
    source, model = whole.get("initialize"), whole.get("model")
    if not isinstance(source, str) or not isinstance(model, dict):
        return
    own = [*_parts(model), "fusion"]
    whole["initialize"] = {part: source for part in parts_of(source) if part in own or part.startswith("codecs.")}
    whole.setdefault("tokenizer", {"bundle": source})


def parts_of(source: str) -> list[str]:
    """The parts of a saved model from which a run can be initialized.

    Raises:
        UserError: when there is no such model, or it has no architecture.
    """
    bundle = read_bundle(find_bundle(source))
    if bundle.architecture is None:
        raise UserError(f"{bundle.folder} has no model.json; it runs on ONNX only and cannot be trained further")
    return [*_parts(bundle.architecture), "fusion"]


def _parts(architecture: Mapping[str, Any]) -> list[str]:
    named = [f"{group}.{name}" for group in ("encoders", "decoders", "codecs") for name in architecture.get(group) or {}]
    return [*named, *(f"projections.{name}" for name in architecture.get("encoders") or {})]


def _add_codecs(whole: dict[str, Any]) -> None:
    """Take the architecture and the image settings of each codec that is initialized from a saved model. Settings that the run
    gives win: a convolutional codec also takes image sizes that it was not trained on."""
    model, given = whole.get("model"), whole.get("initialize")
    if not isinstance(model, dict) or not isinstance(given, dict):
        return
    for part, source in given.items():
        group, _, name = str(part).partition(".")
        if group != "codecs" or name in (model.get("codecs") or {}):
            continue
        bundle = read_bundle(find_bundle(source))
        codecs = (bundle.architecture or {}).get("codecs", {})
        if name not in codecs:
            raise UserError(f"initialize.{part}: {source} has no codec {name!r}; train one, with the task reconstruction")
        whole["model"] = {**model, "codecs": {**(model.get("codecs") or {}), name: codecs[name]}}
        own = whole["outputs"].get(name) or {}
        chosen = {} if own == to_dict(default_outputs()).get(name) else own
        whole["outputs"] = {**whole["outputs"], name: {**to_dict(bundle.interface.outputs[name]), **chosen}}


def write_run(config: RunConfig, path: Path) -> None:
    """Write all settings, defaults included, so that this file alone can repeat the run."""
    write_whole(path, yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120))
