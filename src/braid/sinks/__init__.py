"""Sinks: services that receive a run's log, one file each. A sink imports its package when it is built."""

from braid.sinks.mlflow import MLflowSinkConfig
from braid.sinks.sink import Sink, metrics
from braid.sinks.tensorboard import TensorBoardSinkConfig
from braid.sinks.wandb import WandbSinkConfig

SinkConfig = MLflowSinkConfig | TensorBoardSinkConfig | WandbSinkConfig

__all__ = ["MLflowSinkConfig", "Sink", "SinkConfig", "TensorBoardSinkConfig", "WandbSinkConfig", "metrics"]
