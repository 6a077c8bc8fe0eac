"""What a run says when something is wrong, in the words of somebody who has seen it before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from braid.errors import UserError
from braid.records import Batch, Prediction
from braid.shapes import Float


def check_loss(loss: Float[Tensor, ""], step: int, ids: Sequence[str]) -> None:
    """A loss that is not a number ends the run before it reaches the weights."""
    if not torch.isfinite(loss):
        rows = ", ".join(ids[:3])
        raise UserError(
            f"the loss is {float(loss.detach())} at step {step} (rows {rows}, ...); the last checkpoint is from before. "
            "Halve optimizer.learning_rate, keep optimizer.clip at 1, or use precision: float32, then --resume"
        )


def same_answer(predictions: Sequence[Prediction]) -> str | None:
    """Warn when many different pictures get one and the same text."""
    texts = {prediction.text for prediction in predictions}
    if len(predictions) >= 8 and len(texts) == 1:
        (text,) = texts
        return f"all {len(predictions)} rows get the same text {text!r}; train longer, or check that inputs reach the model"
    return None


@dataclass(frozen=True)
class Reliance:
    """Mean val loss with the true value of one input, and with another row's value in its place."""

    input: str
    loss: float
    loss_shuffled: float

    @property
    def warning(self) -> str | None:
        if self.loss_shuffled > 1.005 * self.loss:
            return None
        return (
            f"the model ignores its input {self.input!r}: val loss is {self.loss:.3f}, and {self.loss_shuffled:.3f} with "
            "other rows' values in its place; train longer, or check that the column belongs to its row"
        )


@torch.no_grad()
def reliance(judge: Callable[[Batch], Tensor], batches: Sequence[Batch], name: str) -> Reliance | None:
    """Compare the loss by ``judge`` with that under a rolled ``name``; None where no batch has two distinct values of it."""
    usable = [batch for batch in batches if name in batch.inputs and batch.inputs[name].distinct.values.shape[0] > 1]
    if not usable:
        return None
    losses = [[float(judge(b)) for b in (batch, _rolled(batch, name))] for batch in usable]
    true, shuffled = torch.tensor(losses).mean(0).tolist()
    return Reliance(name, true, shuffled)


def _rolled(batch: Batch, name: str) -> Batch:
    """Every row gets the value that follows its own among the batch's distinct values."""
    given = batch.inputs[name]
    moved = (given.index + 1) % given.distinct.values.shape[0]
    return replace(batch, inputs={**batch.inputs, name: replace(given, index=torch.where(given.index < 0, given.index, moved))})
