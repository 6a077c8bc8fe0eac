"""TensorBoard: event files in RUN/tensorboard, written by tensorboardX (no TensorFlow, no server)."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class TensorBoardSinkConfig:
    """Look with ``tensorboard --logdir RUNS``."""

    kind: Literal["tensorboard"] = "tensorboard"

    package: ClassVar[str] = "tensorboardX"

    def build(self, folder: Path, settings: Mapping[str, Any], run: str) -> "TensorBoardSink":
        return TensorBoardSink(folder / "tensorboard", run)


class TensorBoardSink:
    """A run begun afresh replaces what an earlier attempt in the same folder wrote."""

    def __init__(self, folder: Path, run: str) -> None:
        from tensorboardX import SummaryWriter

        if not run:
            shutil.rmtree(folder, ignore_errors=True)
        self.run = folder.name
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
