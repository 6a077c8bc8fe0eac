"""Maximum likelihood: the words of the data, each given those before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from braid.config import within
from braid.modalities import Tokenizer
from braid.model import Model
from braid.records import Batch, Sample
from braid.tasks import Task


@dataclass(frozen=True)
class LikelihoodConfig:
    """Cross-entropy, with a share ``label_smoothing`` of the target spread over all words (arXiv:1512.00567)."""

    kind: Literal["likelihood"] = "likelihood"
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        within(self, 0, 1, "label_smoothing")

    def build(self, task: Task, tokenizer: Tokenizer, samples: Sequence[Sample]) -> "Likelihood":
        return Likelihood(self, task)


class Likelihood:
    """The loss of the task's decoder on its targets."""

    def __init__(self, config: LikelihoodConfig, task: Task) -> None:
        self.config = config
        self.output = task.decoder

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss, and no figures beside it."""
        return model.decoder(self.output).loss(model(batch), batch.targets[self.output], self.config.label_smoothing), {}
