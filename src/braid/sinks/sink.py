"""What every sink is: a place outside the run's folder of files that is told what log.jsonl says."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Sink(Protocol):
    """One service, open for one run. Anything it raises is told once; the run goes on without it."""

    run: str  # the service's own name of this run, by which a resumed run goes on with it
    empty: bool  # it holds nothing of this run: it is told the whole log

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one record of log.jsonl: ``train/...`` of a step, ``val/...`` of an epoch."""
    group = "val" if "val_loss" in record else "train"
    numbers = {name: float(value) for name, value in record.items() if isinstance(value, int | float) and name != "step"}
    return {f"{group}/{name.replace('val_loss', 'loss')}": value for name, value in numbers.items()}
