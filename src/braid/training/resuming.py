"""Going on with a run: whether its weights mean the same, how many epochs are asked for, and whether anything is left."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha1
from pathlib import Path
from typing import Any

from braid.config import to_dict
from braid.errors import UserError
from braid.files import user_path
from braid.training.checkpoint import Position, read_position
from braid.training.config import RunConfig, read_run
from braid.training.setup import Setup

FITTED = ("labels", "multiple", "mean", "deviation", "table")  # settings of modalities that a run takes from its training rows
SHOWN = 60  # characters of a value in a message


@dataclass(frozen=True)
class Before:
    """What a folder holds of a run: its position, and what its weights stand for."""

    folder: Path
    position: Position
    meaning: dict[str, Any]

    @cached_property
    def epochs(self) -> int:
        """The epochs of run.yaml: those that fitted, within a time."""
        return self._config.epochs

    @cached_property
    def _config(self) -> RunConfig:
        return read_run(self.folder / "run.yaml")

    def going_on(self, config: RunConfig) -> RunConfig:
        """The settings to go on with. Within a time, these are the epochs that fitted when the run began; if they are done and
        another time is given, those that were asked for at first, which are fitted again."""
        position = self.position
        if not config.time or config.epochs not in (self.epochs, position.asked):
            position.asked = config.epochs
            return config
        again = position.epoch >= self.epochs and config.time != self._config.time
        return replace(config, epochs=position.asked if again and position.asked else self.epochs)


def read_before(folder: Path) -> Before | None:
    """What a folder holds of a run; None if it has no checkpoint.

    Raises:
        UserError: when the checkpoint cannot be read.
    """
    found = read_position(folder)
    if found is None:
        return None
    position, meant = found
    return Before(folder, replace(position, done=False), meant)  # other settings decide whether it is done


def check_data(config: RunConfig, folder: Path) -> None:
    """Check that the data of a run that goes on is where its settings say: the data, or the working folder, may have moved.

    Raises:
        UserError: naming the data, and how to name them anew.
    """
    for place, mixed in enumerate(config.mixture):
        path = mixed.data.path
        if path.partition(":")[0] == "scenes" or os.path.exists(user_path(path)):
            continue
        start = "" if os.path.isabs(user_path(path)) else f" in {Path.cwd()}; go to the folder that the path starts from"
        new = "--set data.path=PATH" if not place else f"change data.path of {mixed.task.kind} in a run's YAML file"
        raise UserError(
            f"{folder} was trained on {path}, which does not exist{start}{', or' if start else ';'} say where it is now: {new}"
        )


def meaning(setup: Setup) -> dict[str, Any]:
    """What the weights of a run stand for, by name: tasks, labels, columns, vocabularies, training rows."""
    named = {f"inputs.{name}": to_dict(one) for name, one in setup.interface.inputs.items()}
    named |= {f"outputs.{name}": to_dict(one) for name, one in setup.interface.outputs.items()}
    fitted = {f"{path}.{name}": one[name] for path, one in named.items() for name in FITTED if name in one}
    texts = {name: sha1(one.to_json().encode()).hexdigest() for name, one in setup.tokenizers.items()}
    rows = [(data.task.kind, len(data.train), data.train.content) for data in setup.tasks]
    return {
        "task": [kind for kind, _, _ in rows],
        **fitted,
        **{f"the vocabulary of {name}": content for name, content in texts.items()},
        **{f"the number of training rows of {kind}": number for kind, number, _ in rows},
        **{f"the targets of the training rows of {kind}": content for kind, _, content in rows},
    }


def check_meaning(folder: Path, saved: Mapping[str, Any], now: str) -> None:
    """Check that a run goes on with what it began with; a checkpoint of an older version says nothing of it.

    Args:
        now: what weights stand for with the settings that are given, as JSON.

    Raises:
        UserError: naming what is different now.
    """
    given = json.loads(now)
    for name in saved:
        if saved[name] != given.get(name):
            raise UserError(
                f"{folder} was trained on other data: {name} {_change(saved[name], given.get(name))}. Resume with the data "
                f"of the run, or begin a new one from its weights: --start {folder} and another --output"
            )


def _change(before: Any, now: Any) -> str:
    shown = [str(value)[:SHOWN] + ("..." if len(str(value)) > SHOWN else "") for value in (before, now)]
    readable = shown[0] != shown[1] and not (isinstance(before, str) and len(before) == 40)
    return f"was {shown[0]} and is {shown[1]} now" if readable else "is not the same"


def ended(config: RunConfig, position: Position) -> str:
    """Why a run has nothing left to train, and how it can go on; "" if it has."""
    if position.epoch >= config.epochs:
        more = f"more are trained with --resume --set epochs={2 * position.epoch}"
        if position.epoch > config.epochs:
            return f"{position.epoch} epochs are done already, and epochs is {config.epochs}; {more}"
        number = "its epoch is" if config.epochs == 1 else f"all {config.epochs} epochs are"
        return f"{number} done; {more}"
    patience, waited = config.evaluation.patience, position.epoch - 1 - position.best_epoch
    if 0 < patience <= waited:
        since = "1 epoch" if waited == 1 else f"{waited} epochs"
        return f"it stopped early, {since} after its best {config.best}; it goes on with --resume --set evaluation.patience=0"
    if position.done:
        done = f"{position.epoch} of {config.epochs} epochs"
        return f"its time was over after {done}; it goes on with --resume --time {config.time}"
    return ""
