"""Training: one loop, its configuration, its exact resume."""

from braid.training.advice import next_commands
from braid.training.budget import plan_of, train_in_stages
from braid.training.config import (
    MixedTask,
    RunConfig,
    inputs_of_data,
    preset,
    read_run,
    read_yaml,
    run_from,
    write_run,
)
from braid.training.defaults import default_run, starting_from
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
    "default_run",
    "inputs_of_data",
    "next_commands",
    "plan_of",
    "preset",
    "read_run",
    "read_yaml",
    "run_from",
    "starting_from",
    "train",
    "train_in_stages",
    "write_run",
]
