"""What a run in stages has done: ``stages.json`` in its folder, which training writes and a report shows."""

from dataclasses import dataclass, field
from pathlib import Path

from braid.config import from_dict
from braid.files import read_json

LIST = "stages.json"


@dataclass(frozen=True)
class Stage:
    """One run of the sequence.

    ``metric``: its best value of the main metric; None if it was not finished. ``seconds``: what it took.
    """

    name: str
    why: str
    metric: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Progress:
    """The stages so far, the best of them, and the seconds after which the first model was there."""

    stages: tuple[Stage, ...] = field(default_factory=tuple)
    best: str = ""
    first_model: float = 0.0

    @property
    def seconds(self) -> float:
        """What all stages took."""
        return sum(stage.seconds for stage in self.stages)


def read_progress(folder: Path) -> Progress:
    """The stages of the run in ``folder``; none if it is not a run in stages.

    Raises:
        UserError: when the list is damaged.
    """
    path = folder / LIST
    if not path.exists():
        return Progress()
    return from_dict(Progress, read_json(path, "remove the folder and start again"), str(path))
