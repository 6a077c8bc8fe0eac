"""Maximum likelihood of the training targets."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from braid.config import did_you_mean, within
from braid.errors import UserError
from braid.modalities import Tokenizer
from braid.model import Model
from braid.objectives.mixup import mixed
from braid.records import Batch, Sample
from braid.shapes import Float
from braid.tasks import Task


@dataclass(frozen=True)
class LikelihoodConfig:
    """The decoders' own losses on the targets.

    Args:
        label_smoothing: share of the target that is spread over all tokens or labels (arXiv:1512.00567).
        class_balance: weight of rare labels. A row's loss is multiplied by (mean rows a label / rows of its label) to this power:
            0 weighs all rows the same, 1 all labels.
        output_weights: weight of an output's loss, by output; 1 where none is given. Losses are means over tokens, so an image of
            many tokens otherwise counts as much as one word.
        input_weights: weight of the loss that an input gives alone, by input, beside the loss of all inputs together, so that no
            input stays unused because another one is learned faster (arXiv:2203.15332). A model with three inputs or more has
            0.2 for each, unless you set it; ``{}`` leaves these losses out.
        mixup: mix pairs of rows, inputs and labels, by a share from Beta(mixup, mixup) (arXiv:1710.09412); 0 mixes none. For
            labels of images, recordings and clips.
    """

    kind: Literal["likelihood"] = "likelihood"
    label_smoothing: float = 0.1
    class_balance: float = 0.0
    output_weights: dict[str, float] = field(default_factory=dict)
    input_weights: dict[str, float] = field(default_factory=dict)
    mixup: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 1, "label_smoothing", "class_balance")
        within(self, 0, 100, "mixup")
        for setting in ("output_weights", "input_weights"):
            for name, value in getattr(self, setting).items():
                if not 0 < value < math.inf:
                    raise UserError(f"{setting}.{name} is {value:g}; it must be above 0")

    def build(self, task: Task, tokenizer: Tokenizer | None, samples: Sequence[Sample]) -> "Likelihood":
        return Likelihood(self, task, samples)


class Likelihood:
    """The loss of the task's decoders on their targets."""

    def __init__(self, config: LikelihoodConfig, task: Task, samples: Sequence[Sample]) -> None:
        self.config = config
        self.output, self.outputs = task.decoder, task.decoders
        unknown = [name for name in config.output_weights if name not in self.outputs]
        if unknown:
            raise UserError(f"objective.output_weights names {unknown[0]!r}; {did_you_mean(unknown[0], self.outputs)}")
        self._of_labels: dict[tuple[str, ...], float] = {}
        for setting in ("class_balance", "mixup"):
            if getattr(config, setting) and not task.labels_rows:
                raise UserError(
                    f"objective.{setting} is {getattr(config, setting):g}, and {task.kind} has no labels; leave it out"
                )
        if config.class_balance:
            rows = Counter(tuple(sample.targets[self.output]) for sample in samples)
            mean = rows.total() / len(rows)
            self._of_labels = {labels: (mean / count) ** config.class_balance for labels, count in rows.items()}

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss; and its parts, unweighted: of each decoder where several learn, and of all inputs and of each alone."""
        weights = None
        if self._of_labels:
            of_rows = [self._of_labels[tuple(sample.targets[self.output])] for sample in samples]
            weights = torch.tensor(of_rows, device=batch.targets[self.output].values.device)
        if self.config.mixup:
            batch = mixed(batch, self.output, len(model.outputs[self.output].config.labels), self.config.mixup)
        of_inputs = self.config.input_weights
        losses, alone = model.losses_of_inputs(batch, self.outputs, list(of_inputs), self.config.label_smoothing, weights)
        whole = self._sum(losses)
        parts = {f"{name}_loss": float(loss.detach()) for name, loss in losses.items()} if len(losses) > 1 else {}
        if alone:
            parts["together_loss"] = float(whole.detach())
        for name, own in alone.items():
            loss = self._sum(own)
            parts[f"{name}_alone_loss"] = float(loss.detach())
            whole = whole + of_inputs[name] * loss
        return whole, parts

    def _sum(self, losses: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        return torch.stack([loss * self.config.output_weights.get(name, 1.0) for name, loss in losses.items()]).sum()

    def validation_loss(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The validation loss: plain."""
        return torch.stack([*model.losses(batch, self.outputs).values()]).sum()
