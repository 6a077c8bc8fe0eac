"""Every setting of Braid, from the config classes themselves: type and default from the fields, meaning from the docstrings."""

import dataclasses
import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from braid.config import did_you_mean, kinds, to_dict
from braid.errors import UserError

MOST = 40  # maximum characters of a default
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", bytes: "bytes", Any: "any"}


@dataclass(frozen=True)
class Setting:
    """One setting of a part. ``default`` is written as in YAML; "required" where there is none."""

    name: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Part:
    """One section of settings, such as ``fusion.attention``. ``about`` is the first paragraph of its docstring."""

    group: str
    name: str
    about: str
    settings: tuple[Setting, ...]

    @property
    def path(self) -> str:
        return f"{self.group}.{self.name}" if self.name else self.group


@dataclass(frozen=True)
class Group:
    """Parts of one sort. ``parts``: config classes by ``kind``; a single one has the name ""."""

    name: str
    title: str
    where: str
    parts: Mapping[str, Any]


def groups() -> tuple[Group, ...]:
    """All settings, in the order in which a run's YAML has them. Needs torch, which the architecture is made of."""
    from braid.bundle import DataCard, Source
    from braid.codecs import CodecConfig
    from braid.comparison import ComparisonConfig
    from braid.decoders import DecoderConfig
    from braid.encoders import EncoderConfig
    from braid.fusions import FusionConfig
    from braid.generation import GenerationConfig
    from braid.generation.images import ImageSamplingConfig
    from braid.index import IndexConfig
    from braid.metrics import Calibration
    from braid.modalities import AudioAugmentation, Augmentation, ModalityConfig
    from braid.modalities.audio import SpectrogramConfig
    from braid.modalities.tabular import CategoryColumn, NumberColumn
    from braid.model import ModelConfig
    from braid.objectives import ObjectiveConfig
    from braid.server.config import Access, Limits
    from braid.sinks import SinkConfig
    from braid.tasks import Task
    from braid.training.config import MixedTask, RunConfig
    from braid.training.sections import DataConfig, EvaluationConfig, OptimizerConfig, TokenizerConfig

    columns = {"number": NumberColumn, "category": CategoryColumn}
    return (
        Group("run", "A run", "the top level of a run's YAML file", {"": RunConfig}),
        Group("data", "Data", "`data` of a run", {"": DataConfig}),
        Group("mixture", "Tasks beside the main one", "each item of `tasks` of a run", {"": MixedTask}),
        Group("task", "Tasks", "`task` of a run", kinds(Task)),
        Group("generation", "Text generation", "`task.generation`", {"": GenerationConfig}),
        Group("sampling", "Image generation", "`task.sampling` of image generation", {"": ImageSamplingConfig}),
        Group(
            "calibration",
            "Calibration",
            "`task.calibration`, or one a language in `task.calibrations`; `braid calibrate` writes it",
            {"": Calibration},
        ),
        Group("objective", "Objectives", "`objective` of a run", kinds(ObjectiveConfig)),
        Group("modality", "Inputs and outputs", "`inputs.NAME` and `outputs.NAME`", kinds(ModalityConfig)),
        Group("augmentation", "Image augmentation", "`inputs.NAME.augmentation` of an image", {"": Augmentation}),
        Group("sound", "Audio augmentation", "`inputs.NAME.augmentation` of a recording", {"": AudioAugmentation}),
        Group("spectrogram", "Spectrograms", "`inputs.NAME.spectrogram` of a recording", kinds(SpectrogramConfig)),
        Group("column", "Table columns", "each item of `inputs.NAME.table`; a run writes them", columns),
        Group("tokenizer", "Tokenizer", "`tokenizer` of a run", {"": TokenizerConfig}),
        Group("model", "Model", "`model` of a run", {"": ModelConfig}),
        Group("encoder", "Encoders", "`model.encoders.NAME`", kinds(EncoderConfig)),
        Group("fusion", "Fusions", "`model.fusion`", kinds(FusionConfig)),
        Group("decoder", "Decoders", "`model.decoders.NAME`", kinds(DecoderConfig)),
        Group("codec", "Codecs", "`model.codecs.NAME`", kinds(CodecConfig)),
        Group("optimizer", "Optimizer", "`optimizer` of a run", {"": OptimizerConfig}),
        Group("evaluation", "Evaluation", "`evaluation` of a run", {"": EvaluationConfig}),
        Group("card", "Data card", "`card` of a run", {"": DataCard}),
        Group("source", "Sources", "each item of `card.sources`", {"": Source}),
        Group("sink", "Sinks", "each item of `sinks` of a run", kinds(SinkConfig)),
        Group("comparison", "Comparison", "the top level of a comparison's YAML file", {"": ComparisonConfig}),
        Group("index", "Indexes", "`kind` of `model.index(...)` in Python, `--kind` of `braid index`", kinds(IndexConfig)),
        Group("server", "Server", "options of `braid serve`", {"limits": Limits, "access": Access}),
    )


def parts_of(group: Group) -> Iterator[Part]:
    for name, config in group.parts.items():
        yield Part(group.name, name, _about(config), tuple(_settings(config)))


def find_parts(wanted: str) -> list[Part]:
    """The parts that ``fusion``, ``fusions`` or ``fusion.attention`` means; "" means all.

    Raises:
        UserError: naming the parts that there are, when there is no such one.
    """
    every = groups()
    if not wanted:
        return [part for group in every for part in parts_of(group)]
    first, _, kind = wanted.partition(".")
    by_name = {group.name: group for group in every}
    group = by_name.get(first) or next((one for one in every if first in (f"{one.name}s", f"{one.name}es", _plural(one))), None)
    if group is None:
        names = list(by_name) + [f"{one.name}.{kind}" for one in every for kind in one.parts if kind]
        close = did_you_mean(wanted, names)
        hint = close[close.index(" (did you") :] if "did you mean" in close else ""
        raise UserError(f"there are no settings of {wanted!r}; choose from {', '.join(by_name)}{hint}")
    parts = list(parts_of(group))
    if not kind:
        return parts
    chosen = [part for part in parts if part.name == kind]
    if not chosen:
        raise UserError(f"there are no settings of {wanted!r}; {did_you_mean(wanted, [part.path for part in parts])}")
    return chosen


def _plural(group: Group) -> str:
    return f"{group.name[:-1]}ies" if group.name.endswith("y") else group.name


def markdown() -> str:
    """All settings as a page of the docs."""
    lines = [
        "# Settings",
        "",
        "Every setting, its type, its default and its meaning. The page is made from the code: `braid settings --markdown`.",
        "`braid settings fusion` prints one part of it. Settings go into a run's YAML file or behind `--set`, for example",
        "`--set model.fusion.heads=8`. A section with a `kind` chooses one of several: `--set model.fusion.kind=attention`.",
    ]
    for group in groups():
        lines += ["", f"## {group.title}", "", f"Where: {group.where}."]
        for part in parts_of(group):
            lines += ["", f"### {part.path}"] if part.name else []
            lines += ["", part.about]
            if part.settings:
                lines += ["", "| setting | type | default | meaning |", "|---|---|---|---|"]
                lines += [f"| `{s.name}` | {_cell(s.type)} | {_code(s.default)} | {_cell(s.meaning)} |" for s in part.settings]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return text if text in ("required", "") else f"`{_cell(text)}`"


def _settings(config: Any) -> Iterator[Setting]:
    hints, meanings = get_type_hints(config), meanings_of(config)
    for field in dataclasses.fields(config):
        if field.name != "kind":
            yield Setting(field.name, _type(hints[field.name]), _default(field), meanings.get(field.name, "").replace("``", "`"))


def _about(config: Any) -> str:
    text = re.split(r"\n\s*Args:\s*\n", config.__doc__ or "")[0]
    return " ".join(text.split()).replace("``", "`")


def meanings_of(config: Any) -> dict[str, str]:
    """The ``Args:`` section of a docstring, by name; ``low, high: ...`` is said of both."""
    _, _, section = (config.__doc__ or "").partition("Args:\n")
    result: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        start = re.match(r"        (\w+(?:, \w+)*): (.*)", line)
        if start:
            names = start[1].split(", ")
            result |= dict.fromkeys(names, start[2].strip())
        elif re.match(r"         +\S", line) and names:
            result |= {name: f"{result[name]} {line.strip()}" for name in names}
        elif re.match(r"    \S", line):
            break
    return result


def _type(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in NAMES:
        return NAMES[hint]
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin in (tuple, frozenset):
        inner = [one for one in arguments if one is not Ellipsis]
        return f"list of {_type(inner[0])}" if len(set(inner)) == 1 else "list"
    if origin is not None and len(arguments) == 2:  # a mapping
        return f"section: name to {_type(arguments[1])}"
    return "section"


def _union(members: tuple[Any, ...]) -> str:
    own = [member for member in members if member is not type(None)]
    if len(own) < len(members):
        return f"{_type(own[0])} or null" if len(own) == 1 else f"{_union(tuple(own))} or null"
    if all(dataclasses.is_dataclass(member) for member in own):
        return "section with a kind"
    return " or ".join(dict.fromkeys(map(_type, own)))


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "kind", "its defaults"))
    if isinstance(value, Mapping) and any(map(dataclasses.is_dataclass, value.values())):
        return ", ".join(value)
    if isinstance(value, str):
        return value or '""'
    text = json.dumps(sorted(value) if isinstance(value, frozenset) else to_dict(value))
    return text if len(text) <= MOST else text[: MOST - 3] + "..."
