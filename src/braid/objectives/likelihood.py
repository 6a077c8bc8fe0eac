"""Maximum likelihood: the words, or the label, of the data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from braid.config import within
from braid.errors import UserError
from braid.modalities import Tokenizer
from braid.model import Model
from braid.records import Batch, Sample
from braid.tasks import Task, decoders_of


@dataclass(frozen=True)
class LikelihoodConfig:
    """Cross-entropy, with a share ``label_smoothing`` of the target spread over all words or labels (arXiv:1512.00567).

    ``balance``: how far a rare label counts more: each row's loss is times (mean rows a label / rows of its label) **
    ``balance``; 0 counts rows alike, 1 labels alike.
    """

    kind: Literal["likelihood"] = "likelihood"
    label_smoothing: float = 0.1
    balance: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "label_smoothing", "balance")

    def build(self, task: Task, tokenizer: Tokenizer | None, samples: Sequence[Sample]) -> "Likelihood":
        return Likelihood(self, task, samples)


class Likelihood:
    """The loss of the task's decoders on their targets."""

    def __init__(self, config: LikelihoodConfig, task: Task, samples: Sequence[Sample]) -> None:
        self.config = config
        self.output, self.outputs = task.decoder, decoders_of(task)
        self._weights: dict[tuple[str, ...], float] = {}
        if config.balance:
            if task.kind != "classification":
                raise UserError(f"objective.balance is {config.balance:g}, and {task.kind} has no labels; leave it out")
            rows = Counter(tuple(sample.targets[self.output]) for sample in samples)
            mean = rows.total() / len(rows)
            self._weights = {labels: (mean / count) ** config.balance for labels, count in rows.items()}

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss; and, where several decoders learn, the loss of each."""
        weights = None
        if self._weights:
            found = [self._weights[tuple(sample.targets[self.output])] for sample in samples]
            weights = torch.tensor(found, device=batch.targets[self.output].values.device)
        losses = model.losses(batch, self.outputs, self.config.label_smoothing, weights)
        told = {f"{name}_loss": float(loss.detach()) for name, loss in losses.items()} if len(losses) > 1 else {}
        return torch.stack([*losses.values()]).sum(), told

    def judge(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The loss by which val is judged: plain."""
        return torch.stack([*model.losses(batch, self.outputs).values()]).sum()
