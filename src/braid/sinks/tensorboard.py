"""TensorBoard: event files in RUN/tensorboard, written by tensorboardX (no TensorFlow, no server)."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class TensorBoardSinkConfig:
    """TensorBoard. See it with ``tensorboard --logdir RUNS``."""

    kind: Literal["tensorboard"] = "tensorboard"

    package: ClassVar[str] = "tensorboardX"

    def build(self, folder: Path, settings: Mapping[str, Any], run: str) -> "TensorBoardSink":
        return TensorBoardSink(folder / "tensorboard", run)


class TensorBoardSink:
    """Writes event files; a new run replaces those of an earlier run in the same folder.

    It writes synchronously, because ``SummaryWriter`` uses a queue and a thread, and its ``flush`` waits for neither.
    """

    def __init__(self, folder: Path, run: str) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        if not run:
            shutil.rmtree(folder, ignore_errors=True)
        self.run, self.empty = folder.name, not run
        folder.mkdir(exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in metrics.items():
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
