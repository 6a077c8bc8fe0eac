"""Weights & Biases: offline in RUN/wandb by default; ``wandb sync`` uploads it later."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from uuid import uuid4


@dataclass(frozen=True)
class WandbSinkConfig:
    """Weights & Biases. A run has the name of its folder.

    Args:
        project: the project's name.
        mode: ``online`` needs a network and ``wandb login``.
    """

    kind: Literal["wandb"] = "wandb"
    project: str = "braid"
    mode: Literal["offline", "online"] = "offline"

    package: ClassVar[str] = "wandb"

    def build(self, folder: Path, settings: Mapping[str, Any], run: str) -> "WandbSink":
        return WandbSink(self, folder, settings, run)


class WandbSink:
    """Writes to Weights & Biases. A killed process may lose records that its client has not written yet, so offline, a resumed
    run starts a new file."""

    def __init__(self, config: WandbSinkConfig, folder: Path, settings: Mapping[str, Any], run: str) -> None:
        import wandb

        self.run = run or uuid4().hex[:8]
        self.empty = not run or config.mode == "offline"
        for old in (folder / "wandb").glob(f"offline-run-*-{self.run}"):
            shutil.rmtree(old)
        self._run = wandb.init(
            project=config.project,
            name=folder.resolve().name,
            id=self.run,
            resume="allow",
            dir=str(folder),
            mode=config.mode,
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off", init_timeout=30),  # do not wait longer for the network
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def flush(self) -> None:
        pass  # the client's own process writes records at once

    def close(self) -> None:
        self._run.finish()
