"""The protocol of a sink: a service that receives the records of log.jsonl."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Sink(Protocol):
    """One service, open for one run. If it raises an error, the error is reported once and the sink is disabled."""

    run: str  # the service's id of this run, with which a resumed run continues
    empty: bool  # it has no records of this run, so it receives the whole log

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one record of log.jsonl: ``train/...`` of a step, ``val/...`` of an epoch."""
    group = "val" if "val_loss" in record else "train"
    numbers = {name: float(value) for name, value in record.items() if isinstance(value, int | float) and name != "step"}
    return {f"{group}/{name.replace('val_loss', 'loss')}": value for name, value in numbers.items()}
