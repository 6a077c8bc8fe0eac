"""The models that are served, by name and by what they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from braid.api import LoadedModel, load
from braid.bundle import DataCard
from braid.errors import UserError
from braid.index import Index, open_index
from braid.modalities import LabelsModalityConfig
from braid.server.config import Limits
from braid.server.engine import Engine
from braid.server.errors import ApiError
from braid.server.metrics import Metrics


@dataclass(frozen=True)
class Served:
    """One model and the engine that runs it; ``created`` is the second its weights were written."""

    name: str
    model: LoadedModel
    engine: Engine
    created: int

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(sorted(self.model.bundle.interface.tasks))

    @property
    def labels(self) -> list[str]:
        """Those that it was trained to tell apart."""
        output = self.model.bundle.interface.outputs.get("label")
        return list(output.labels) if isinstance(output, LabelsModalityConfig) else []

    @property
    def card(self) -> DataCard:
        return self.model.bundle.interface.card

    def message(self) -> dict[str, Any]:
        """An entry of ``/v1/models``."""
        own = {"tasks": list(self.tasks), "labels": self.labels, "description": self.card.description}
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "braid", **own}


class Catalogue:
    """All that is served; where a request names no model, the first that does the task."""

    def __init__(self, served: Sequence[Served], index: Index | None = None, searching: str = "") -> None:
        self.served = {one.name: one for one in served}
        self.index, self.searching = index, searching

    def named(self, name: str) -> Served:
        """
        Raises:
            ApiError: 404, naming those that are served.
        """
        if name not in self.served:
            there = ", ".join(self.served)
            raise ApiError(404, "model_not_found", f"there is no model {name[:80]!r} here; served are {there}", "model")
        return self.served[name]

    def doing(self, task: str, name: str | None) -> Served:
        """
        Raises:
            ApiError: 404 when no model does the task, 400 when the one that is named does not.
        """
        if name is not None:
            result = self.named(name)
            if task not in result.tasks:
                message = f"model {result.name!r} does not do {task}; it does {', '.join(result.tasks) or 'nothing'}"
                raise ApiError(400, "task_not_served", message, "model")
            return result
        for one in self.served.values():
            if task in one.tasks:
                return one
        raise ApiError(404, "task_not_served", f"no model that is served does {task}; start the server with --model of one")

    @property
    def ready(self) -> bool:
        return all(one.engine.alive and not one.engine.full for one in self.served.values())

    def close(self) -> None:
        for one in self.served.values():
            one.engine.close()
        if self.index is not None:
            self.index.close()


def open_catalogue(names: Sequence[str], index: Path | None, limits: Limits, metrics: Metrics) -> Catalogue:
    """Load models, given as built-in names, folders, or NAME=FOLDER, and open the index of one of them.

    Raises:
        UserError: when one cannot be read, two have one name, or the index is none of theirs.
    """
    loaded: dict[str, LoadedModel] = {}
    for given in names:
        name, _, place = given.rpartition("=")
        name = name or Path(place).name or place
        if name in loaded:
            raise UserError(f"two models are named {name!r}; give one another name with --model NAME=FOLDER")
        loaded[name] = load(place)
    searching, opened = _searching(loaded, index) if index is not None else ("", None)
    served = [Served(name, model, _engine(name, model, limits, metrics), _written(model)) for name, model in loaded.items()]
    return Catalogue(served, opened, searching)


def _engine(name: str, model: LoadedModel, limits: Limits, metrics: Metrics) -> Engine:
    return Engine(name, lambda verb, rows: verb.run(model, rows), limits.queue, limits.batch, limits.workers, metrics)


def _written(model: LoadedModel) -> int:
    folder = model.bundle.folder
    return int(folder.stat().st_mtime) if folder.exists() else 0


def _searching(loaded: dict[str, LoadedModel], folder: Path) -> tuple[str, Index]:
    """The model that made the index."""
    able = {name: model for name, model in loaded.items() if "retrieval" in model.bundle.interface.tasks}
    if not able:
        raise UserError(f"no model that is served gives embeddings, so {folder} cannot be searched; give one with --model")
    opened = open_index(folder)
    for name, model in able.items():
        if model.origin == opened.origin:
            return name, opened
    opened.close()
    raise UserError(
        f"{folder} was made by model {opened.origin}; serve it with --model, or make the index anew with `braid index`"
    )
