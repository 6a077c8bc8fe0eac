"""MLflow: a SQLite file in the run's folder, unless ``uri`` names a tracking server or another database."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from braid.config import flat


@dataclass(frozen=True)
class MLflowSinkConfig:
    """MLflow. See it with ``mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db``.

    Args:
        uri: where runs are kept together; "" is a database in the run's folder.
        experiment: the experiment's name.
    """

    kind: Literal["mlflow"] = "mlflow"
    uri: str = ""
    experiment: str = "braid"

    package: ClassVar[str] = "mlflow"

    def build(self, folder: Path, settings: Mapping[str, Any], run: str) -> "MLflowSink":
        return MLflowSink(self, folder, settings, run)


class MLflowSink:
    def __init__(self, config: MLflowSinkConfig, folder: Path, settings: Mapping[str, Any], run: str) -> None:
        # Give up on an unreachable server after seconds, not minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=config.uri or f"sqlite:///{folder.resolve() / 'mlflow.db'}")
        self.run = run or self._create_run(config.experiment, folder.resolve().name, settings)
        self.empty = not run
        self._pending: list[Any] = []

    def _create_run(self, experiment: str, name: str, settings: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        result = self._client.get_experiment_by_name(experiment)
        number = result.experiment_id if result else self._client.create_experiment(experiment)
        run = str(self._client.create_run(number, run_name=name).info.run_id)
        params = [Param(key, str(value)[:500]) for key, value in flat(settings).items()]
        for first in range(0, len(params), 100):  # the limit of one request
            self._client.log_batch(run, params=params[first : first + 100])
        return run

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._pending += [Metric(name, value, now, step) for name, value in metrics.items()]

    def flush(self) -> None:
        for first in range(0, len(self._pending), 1000):
            self._client.log_batch(self.run, metrics=self._pending[first : first + 1000])
        self._pending = []

    def close(self) -> None:
        self._client.set_terminated(self.run)
