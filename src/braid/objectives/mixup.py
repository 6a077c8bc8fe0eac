"""Mixup: the rows of a batch in pairs (arXiv:1710.09412)."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from braid.errors import UserError
from braid.records import Batch, BatchInput, Padded
from braid.shapes import Int

LEAST = 3  # axes of values that can be mixed: images, spectrograms, clips and features have as many, words and cells have fewer


def mixed(batch: Batch, output: str, labels: int, alpha: float) -> Batch:
    """Every row mixed with another one: share * own + (1 - share) * other, of its inputs and of its labels alike. The share is
    drawn from Beta(alpha, alpha), one for the whole batch, and is at least half.

    Args:
        output: whose targets are labels.
        labels: their number.
    Raises:
        UserError: if an input is words or the cells of a table, which have no mean.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    share = max(share, 1 - share)
    target = batch.targets[output]
    own, other = (order.to(target.values.device) for order in (torch.arange(batch.size), torch.randperm(batch.size)))
    other = torch.where(target.mask[other], other, own)  # a row without a label is mixed into none
    values = target.values if target.values.is_floating_point() else F.one_hot(target.values, labels).float()
    targets = {**batch.targets, output: Padded(share * values + (1 - share) * values[other], target.mask)}
    inputs = {name: _mixed(name, given, other, share) for name, given in batch.inputs.items()}
    return replace(batch, inputs=inputs, targets=targets)


def _mixed(name: str, given: BatchInput, other: Int[Tensor, " batch"], share: float) -> BatchInput:
    """One input of each row, mixed with that of the other row where both have it."""
    values, mask = given.distinct.values, given.distinct.mask
    if values.ndim < LEAST or not values.is_floating_point():
        what = "objective.mixup mixes images, recordings and clips"
        raise UserError(f"{what}, and the input {name!r} is none of them; set objective.mixup to 0")
    own, theirs = given.index.clamp(min=0), given.index[other]
    theirs = torch.where(theirs < 0, own, theirs)
    distinct = Padded(share * values[own] + (1 - share) * values[theirs], mask[own] | mask[theirs])
    rows = torch.arange(len(own), device=own.device)
    return replace(given, distinct=distinct, index=torch.where(given.index < 0, given.index, rows))
