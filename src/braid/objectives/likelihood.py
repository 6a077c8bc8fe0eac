"""Maximum likelihood: the words, or the label, of the data."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.modalities import Tokenizer
from braid.model import Model
from braid.records import Batch, Sample
from braid.shapes import Float
from braid.tasks import Task


@dataclass(frozen=True)
class LikelihoodConfig:
    """Cross-entropy, with a share ``label_smoothing`` of the target spread over all words or labels (arXiv:1512.00567).

    ``balance``: how far a rare label counts more: each row's loss is times (mean rows a label / rows of its label) **
    ``balance``; 0 counts rows alike, 1 labels alike.

    ``weights``: how much an output's loss counts beside the others', 1 where none is named. Losses are means over tokens, so that
    a picture of many tokens, most of them easy, else counts no more than one word.
    """

    kind: Literal["likelihood"] = "likelihood"
    label_smoothing: float = 0.1
    balance: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self, 0, 1, "label_smoothing", "balance")
        for name, value in self.weights.items():
            if not 0 < value < math.inf:
                raise UserError(f"weights.{name} is {value:g}; it must be above 0")

    def build(self, task: Task, tokenizer: Tokenizer | None, samples: Sequence[Sample]) -> "Likelihood":
        return Likelihood(self, task, samples)


class Likelihood:
    """The loss of the task's decoders on their targets."""

    def __init__(self, config: LikelihoodConfig, task: Task, samples: Sequence[Sample]) -> None:
        self.config = config
        self.output, self.outputs = task.decoder, task.decoders
        unknown = [name for name in config.weights if name not in self.outputs]
        if unknown:
            raise UserError(f"objective.weights names {unknown[0]!r}; {did_you_mean(unknown[0], self.outputs)}")
        self._of_labels: dict[tuple[str, ...], float] = {}
        if config.balance:
            if task.kind != "classification":
                raise UserError(f"objective.balance is {config.balance:g}, and {task.kind} has no labels; leave it out")
            rows = Counter(tuple(sample.targets[self.output]) for sample in samples)
            mean = rows.total() / len(rows)
            self._of_labels = {labels: (mean / count) ** config.balance for labels, count in rows.items()}

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss; and, where several decoders learn, the loss of each, unweighted."""
        weights = None
        if self._of_labels:
            result = [self._of_labels[tuple(sample.targets[self.output])] for sample in samples]
            weights = torch.tensor(result, device=batch.targets[self.output].values.device)
        losses = model.losses(batch, self.outputs, self.config.label_smoothing, weights)
        message = {f"{name}_loss": float(loss.detach()) for name, loss in losses.items()} if len(losses) > 1 else {}
        return torch.stack([loss * self.config.weights.get(name, 1.0) for name, loss in losses.items()]).sum(), message

    def judge(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The loss by which val is judged: plain."""
        return torch.stack([*model.losses(batch, self.outputs).values()]).sum()
