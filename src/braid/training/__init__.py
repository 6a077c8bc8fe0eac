"""Training: one loop, its configuration, its exact resume."""

from braid.training.config import (
    MixedTask,
    RunConfig,
    inputs_of_data,
    preset,
    read_run,
    read_yaml,
    run_from,
    starting_from,
    write_run,
)
from braid.training.guard import Stopped
from braid.training.loop import train
from braid.training.sections import DataConfig
from braid.training.watcher import Estimate, Outcome, Profile, Watcher

__all__ = [
    "DataConfig",
    "Estimate",
    "MixedTask",
    "Outcome",
    "Profile",
    "RunConfig",
    "Stopped",
    "Watcher",
    "inputs_of_data",
    "preset",
    "read_run",
    "read_yaml",
    "run_from",
    "starting_from",
    "train",
    "write_run",
]
