"""The state of a run, which the files of the loop share."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from braid.collate import Collator
from braid.config import json_text
from braid.datasets import Rows
from braid.model import Model
from braid.objectives import Objective
from braid.skipped_rows import SkippedRows
from braid.training.checkpoint import Position
from braid.training.config import RunConfig
from braid.training.data import Mixture
from braid.training.guard import Interrupt
from braid.training.optimizer import MovingAverage
from braid.training.parallel import Group, Loss
from braid.training.resuming import meaning
from braid.training.setup import Setup, TaskData
from braid.training.watcher import Clock, Watcher

DIAGNOSED = 256  # val rows that the loss is measured on
RELIED = 64  # val rows that the reliance on each input is measured on


@dataclass
class Run:
    """The state of a run."""

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
    deadline: float = math.inf  # on the clock of ``time.monotonic``, when the last evaluation has to start
    said: set[str] = field(default_factory=set)

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

    @cached_property
    def meaning(self) -> str:
        """What the weights stand for, as a checkpoint keeps it."""
        return json_text(meaning(self.setup))

    def warn(self, text: str) -> None:
        """Give a warning, unless it was given before."""
        self.say(f"warning: {text}")

    def say(self, text: str) -> None:
        """Pass on a note, unless it was passed on before."""
        if text not in self.said:
            self.said.add(text)
            self.watcher.on_note(text)

    def named(self, task: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The names of a task's metrics in a record: tasks beside the main one get their kind as a prefix."""
        prefix = f"{self.setup.tasks[task].task.kind}." if task else ""
        return {prefix + name: value for name, value in metrics.items()}


def evaluation_rows(config: RunConfig, data: TaskData) -> Rows:
    """The val rows that each evaluation reads."""
    return data.val[: config.evaluation.limit or None]
