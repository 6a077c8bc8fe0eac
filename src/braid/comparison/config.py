"""The configuration of a comparison: its cells are normal runs with the same data, budget, seeds and stopping rule."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from braid.config import from_dict, named, parse_yaml, with_overrides
from braid.decoders import ClassesDecoderConfig, DecoderConfig
from braid.errors import UserError
from braid.fusions import ConcatFusionConfig
from braid.objectives import LikelihoodConfig
from braid.training import RunConfig, plan_of, read_yaml, run_from
from braid.training.sections import seconds_of

SAME = ("data", "epochs", "time", "batch_size", "evaluation", "seed")  # equal in all cells, so that metrics are comparable
BESIDE = 8.0  # seconds of a run beside its training: its process starts, and its best model is scored
LEAST = 5.0  # seconds that a run trains at least
EXAMPLE = "for example vary: {fusion: {concat: {model.fusion: {kind: concat}}, gated: {model.fusion: {kind: gated}}}}"


@dataclass(frozen=True)
class ComparisonConfig:
    """Runs to train side by side. A cell is one choice of each axis.

    Args:
        run: the settings that all runs share.
        vary: axes to choices by name, and a choice to the settings that it changes, as dotted paths or nested.
        seeds: each cell is trained with each of them.
        split: the rows that trained cells are scored on.
        controls: also train each input of a model alone.
    """

    run: dict[str, Any]
    vary: dict[str, dict[str, dict[str, Any]]]
    seeds: tuple[int, ...] = (0, 1, 2)
    split: str = "val"
    controls: bool = True

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds are {list(self.seeds)}; give one or more, each once")
        if "seed" in self.run:
            raise UserError("run sets seed; every cell is trained with each of seeds, so give it there")
        if not self.vary or not all(self.vary.values()):
            raise UserError(f"vary has no choices; {EXAMPLE}")
        for axis, choices in self.vary.items():
            for name, settings in choices.items():
                _check(f"vary.{axis}.{name}", name, settings)


@dataclass(frozen=True)
class Cell:
    """A run that is trained with every seed. ``controls`` names the cells with only one of its inputs."""

    name: str
    run: RunConfig
    control: bool = False
    controls: tuple[str, ...] = ()

    def seeded(self, seed: int) -> RunConfig:
        with named(f"cell {self.name}"):
            return replace(self.run, seed=seed)


def read_comparison(path: Path, settings: Sequence[str] = ()) -> ComparisonConfig:
    """Read a comparison's YAML and apply ``--set`` overrides, such as ``run.epochs=3``.

    Raises:
        UserError: naming the file and the setting.
    """
    data = read_yaml(path, "comparison", "run and vary")
    return from_dict(ComparisonConfig, with_overrides(data, settings), str(path))


def comparison_of(run: Path, axes: Sequence[str], num_seeds: int = 3, settings: Sequence[str] = ()) -> ComparisonConfig:
    """A comparison that varies some settings of a run.

    Args:
        run: a run's folder or its YAML file; of a run in stages, the main stage is varied.
        axes: ``fusion=concat,gated`` each: a setting of the model or of the run, and its values. A kind alone stands for the
            section with its default settings.
    Raises:
        UserError: naming the axis that cannot be varied.
    """
    path = plan_of(run) or (run / "run.yaml" if run.is_dir() else run)
    base = {key: value for key, value in read_yaml(path, "run", "task, data and model").items() if key != "seed"}
    vary = dict(_axis(base, axis) for axis in axes)
    data = {"run": base, "vary": vary, "seeds": list(range(num_seeds))}
    return from_dict(ComparisonConfig, with_overrides(data, settings), str(path))


def within_time(config: ComparisonConfig, time: str) -> ComparisonConfig:
    """The comparison whose runs take ``time`` in all; every run gets the same share, less what its start and its scoring take.

    Raises:
        UserError: when ``time`` is not a time, or too short for so many runs.
    """
    number = len(cells(config)) * len(config.seeds)
    share = seconds_of(time) / number - BESIDE
    if share < LEAST:
        enough = math.ceil(number * (LEAST + BESIDE) / 60)
        raise UserError(
            f"--time {time} is too short for {planned(config)}: {seconds_of(time) / number:.0f} s a run, of which its start and "
            f"its scoring take about {BESIDE:.0f}; give {enough}m or more, fewer --seeds, or --set controls=false"
        )
    return replace(config, run={**config.run, "time": f"{share:.0f}s"})


def planned(config: ComparisonConfig) -> str:
    """The cells, controls, seeds and runs of a comparison, in words."""
    every = cells(config)
    whole, controls = ([cell.name for cell in every if cell.control is kind] for kind in (False, True))
    parts = [f"{len(whole)} cells ({', '.join(whole)})"] if len(whole) != 1 else [f"1 cell ({whole[0]})"]
    if controls:
        parts.append(f"{len(controls)} control{'s' if len(controls) > 1 else ''} ({', '.join(controls)})")
    parts.append(f"{len(config.seeds)} seed{'s' if len(config.seeds) > 1 else ''}")
    return f"{', '.join(parts)}: {len(every) * len(config.seeds)} runs"


def _axis(run: Mapping[str, Any], axis: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """``fusion=concat,gated`` as an axis of ``vary``."""
    setting, equals, values = axis.partition("=")
    names = [name.strip() for name in values.split(",") if name.strip()]
    if not equals or len(names) < 2:
        raise UserError(f"--vary {axis}: write a setting and two or more values, for example --vary fusion=concat,gated")
    path = setting if setting.partition(".")[0] in {one.name for one in fields(RunConfig)} else f"model.{setting}"
    return setting.replace(".", "-"), {re.sub(r"[^\w-]+", "-", name): {path: _value(run, path, name)} for name in names}


def _value(run: Mapping[str, Any], path: str, name: str) -> Any:
    """A value of a setting: a section of that kind where the run has a section with a kind, else as in YAML."""
    here: Any = run
    for part in path.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return {"kind": name} if isinstance(here, Mapping) and "kind" in here else parse_yaml(name)


def cells(config: ComparisonConfig) -> tuple[Cell, ...]:
    """All combinations of choices, then the controls: the same cells with only one input, without duplicates.

    Retrieval has no controls, because it needs both sides.

    Raises:
        UserError: naming the cell whose settings are not a valid run.
    """
    choices = list(product(*config.vary.values()))
    runs = [_run(config, choice) for choice in choices]
    controls = _controls(choices, runs) if config.controls else []
    whole = [
        Cell("-".join(choice), run, controls=tuple(cell.name for cell, whose in controls if place in whose))
        for place, (choice, run) in enumerate(zip(choices, runs, strict=True))
    ]
    result = (*whole, *(cell for cell, _ in controls))
    names = [cell.name for cell in result]
    if len(names) > len(set(names)):
        raise UserError(f"two cells are named {max(names, key=names.count)}; rename a choice")
    if len(names) < 2:
        raise UserError(f"{names[0]} is the only cell; a comparison needs two, {EXAMPLE}")
    return result


def alone(run: RunConfig, name: str) -> RunConfig:
    """The run with only one of its inputs. Its sequence goes to the decoder without a fusion, which could add nothing; a decoder
    that read another input alone reads that sequence, too."""
    lost = [f"{group}.{other}" for group in ("encoders", "projections") for other in run.model.encoders if other != name]
    fusion = ConcatFusionConfig(mode="sequences")
    cached = run.cache_features if run.inputs[name].suffixes else ""
    return replace(
        run,
        model=replace(run.model, encoders={name: run.model.encoders[name]}, fusion=fusion, decoders=_reading(run, name)),
        initialize=_without([*lost, "fusion"], run.initialize),
        optimizer=replace(run.optimizer, scales=_without([*lost, "fusion"], run.optimizer.scales)),
        freeze=tuple(_without([*lost, "fusion"], dict.fromkeys(run.freeze))),
        input_dropout={},  # a row's only input must not be dropped
        objective=replace(run.objective, input_weights={}) if isinstance(run.objective, LikelihoodConfig) else run.objective,
        cache_features=cached,
        cached_views=run.cached_views if cached and name in run.augmented else 0,
    )


def _reading(run: RunConfig, name: str) -> dict[str, DecoderConfig]:
    """The decoders of a run with only one input."""
    lost = {
        output: decoder
        for output, decoder in run.model.decoders.items()
        if isinstance(decoder, ClassesDecoderConfig) and decoder.input not in ("", name)
    }
    return {**run.model.decoders, **{output: replace(decoder, input="") for output, decoder in lost.items()}}


def _without(parts: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if not any(f"{name}.".startswith(f"{part}.") for part in parts)}


def _controls(choices: Sequence[tuple[str, ...]], runs: Sequence[RunConfig]) -> list[tuple[Cell, list[int]]]:
    """Each control, and the indices of the cells that it belongs to."""
    result: list[tuple[str, RunConfig, list[int]]] = []
    for place, run in enumerate(runs):
        if run.task.sides or len(run.model.encoders) < 2:
            continue
        for name in run.model.encoders:
            left = alone(run, name)
            known = next((whose for other, same, whose in result if (other, same) == (name, left)), None)
            if known is None:
                result.append((name, left, [place]))
            else:
                known.append(place)
    return [(Cell(_name(name, whose, choices), left, control=True), whose) for name, left, whose in result]


def _name(name: str, whose: Sequence[int], choices: Sequence[tuple[str, ...]]) -> str:
    """The name of a control: its input, and the choices that identify its cells (image-only-vit if encoders vary)."""
    own = zip(*(choices[place] for place in whose), strict=True)
    shared = [some[0] for some, every in zip(own, zip(*choices, strict=True), strict=True) if len({*some}) == 1 < len({*every})]
    return "-".join([f"{name}-only", *shared])


def _run(config: ComparisonConfig, choice: Sequence[str]) -> RunConfig:
    chosen = [config.vary[axis][name] for axis, name in zip(config.vary, choice, strict=True)]
    with named(f"cell {'-'.join(choice)}"):
        run = run_from(config.run, [setting for settings in chosen for setting in assignments(settings)])
        if run.tasks:
            beside = ", ".join(mixed.task.kind for mixed in run.tasks)
            raise UserError(f"tasks has {beside} beside {run.task.kind}; a comparison is of one task, so leave tasks out")
        return run


def assignments(settings: Mapping[str, Any], start: str = "") -> Iterator[str]:
    """Settings as ``path=value``. A section becomes one item per setting, unless it has a ``kind``, or names with a dot
    (``initialize: {encoders.image: small}``)."""
    for name, value in settings.items():
        path = f"{start}{name}"
        if isinstance(value, Mapping) and value and "kind" not in value and not any("." in str(key) for key in value):
            yield from assignments(value, f"{path}.")
        else:
            yield f"{path}={json.dumps(value, default=str)}"


def _check(where: str, name: str, settings: Mapping[str, Any]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII):
        raise UserError(f"{where}: a choice's name becomes a folder's; make it of letters, digits, - and _")
    for setting in assignments(settings):
        path = setting.partition("=")[0]
        if path.partition(".")[0] in SAME or path in ("task", "task.kind"):
            raise UserError(f"{where} sets {path}; every cell has the same data, budget and stopping rule, so set it under run")
