"""Contrastive training: embeddings of inputs that belong together become similar."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from braid.config import within
from braid.decoders import EmbeddingDecoder
from braid.errors import UserError
from braid.modalities import Tokenizer
from braid.model import Model
from braid.records import Batch, Sample
from braid.shapes import Bool, Float, Int
from braid.tasks import Task


@dataclass(frozen=True)
class ContrastiveConfig:
    """A contrastive loss between two inputs. Equal values are never each other's negatives.

    Args:
        loss: ``clip`` is a softmax over the batch both ways (arXiv:2103.00020), ``siglip`` a sigmoid a pair (arXiv:2303.15343).
        hardness: weight of similar negatives: each counts exp(hardness * cosine) (arXiv:2010.04592).
    """

    kind: Literal["contrastive"] = "contrastive"
    loss: Literal["clip", "siglip"] = "clip"
    hardness: float = 0.0

    def __post_init__(self) -> None:
        within(self, 0, 100, "hardness")

    def build(self, task: Task, tokenizer: Tokenizer | None, samples: Sequence[Sample]) -> "Contrastive":
        if "contrastive" not in task.objectives:
            raise UserError(f"objective.kind contrastive is for retrieval, and the task is {task.kind}; choose likelihood")
        return Contrastive(self, task)


class Contrastive:
    """Each input is encoded alone, once a distinct value; the two sides meet in their cosines."""

    def __init__(self, config: ContrastiveConfig, task: Task) -> None:
        self.config = config
        self.output, self.sides = task.decoder, task.sides

    def __call__(self, model: Model, batch: Batch, samples: Sequence[Sample]) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The loss, and the share of rows whose nearest neighbour on the other side is their own."""
        (left, left_keys), (right, right_keys) = (self._side(model, batch, name) for name in self.sides)
        cosines = left @ right.T
        own = left_keys[:, None] == right_keys[None]
        decoder: EmbeddingDecoder = model.decoders[self.output]  # type: ignore[assignment]
        loss = self._siglip(cosines, own, decoder) if self.config.loss == "siglip" else self._clip(cosines, own, decoder)
        nearest = own.gather(1, cosines.argmax(1, keepdim=True)).float().mean()
        return loss, {"nearest_is_own": round(float(nearest), 4)}

    def validation_loss(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The validation loss: the same; it depends on how many rows a batch has."""
        return self(model, batch, ())[0]

    def _side(self, model: Model, batch: Batch, name: str) -> tuple[Float[Tensor, "n width"], Int[Tensor, " n"]]:
        """The embedding of each distinct value of one input, and its key."""
        given, keys = batch.inputs[name], batch.targets[self.output].values
        used = given.index >= 0
        number = given.distinct.values.shape[0]
        own = keys.new_zeros(number).scatter(0, given.index[used], keys[used])
        alone = Batch(("",) * number, {name: replace(given, index=torch.arange(number, device=keys.device))})
        return model.vector(alone, self.output), own

    def _clip(
        self, cosines: Float[Tensor, "left right"], own: Bool[Tensor, "left right"], decoder: EmbeddingDecoder
    ) -> Float[Tensor, ""]:
        """Each pair against the negatives of its row, and of its column: -log p = softplus(log sum exp(negatives) - pair)."""
        logits = decoder.scale.exp().clamp(max=100) * cosines
        harder = (logits + self.config.hardness * cosines.detach()).masked_fill(own, -1e4)
        both = [F.softplus(harder.logsumexp(side, keepdim=True) - logits)[own].mean() for side in (1, 0)]
        return (both[0] + both[1]) / 2

    def _siglip(
        self, cosines: Float[Tensor, "left right"], own: Bool[Tensor, "left right"], decoder: EmbeddingDecoder
    ) -> Float[Tensor, ""]:
        logits = decoder.scale.exp().clamp(max=100) * cosines + decoder.bias
        losses = -F.logsigmoid(torch.where(own, logits, -logits))
        weights = torch.where(own, 1.0, torch.exp(self.config.hardness * cosines.detach()))
        return (losses * weights).sum() / own.sum()
