"""Attention weights while a block of code runs; outside of it a model computes as fast as ever and keeps none."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from braid.decoders.recurrent import AdditiveAttention
from braid.layers.attention import Attention, AttentionPooling
from braid.shapes import Float


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """What the queries of one attention module gave to each key; a query's weights sum to 1 over the keys that it may read.

    ``name`` is the module's path in the model, such as ``decoders.text.blocks.0.cross_attention``. A module that is run several
    times, such as once a word, gives a map each time.
    """

    name: str
    weights: Float[Tensor, "rows heads queries keys"]


@contextmanager
def record_attention(model: nn.Module) -> Iterator[list[AttentionMap]]:
    """Every attention of the model that runs inside the block, in the order of running, within autograd's graph.

    The answers are those of the fast path, to rounding. A network of transformers keeps its own attention to itself.
    """
    result: list[AttentionMap] = []
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                stack.enter_context(_replaced(module, "forward", _openly(name, module, result)))
            elif isinstance(module, AdditiveAttention | AttentionPooling):
                stack.enter_context(_replaced(module, "weights", _kept(name, module.weights, result)))
        yield result


@contextmanager
def _replaced(module: nn.Module, method: str, other: Callable[..., Tensor]) -> Iterator[None]:
    """An attribute of the object hides its class's method until the block ends; one block may stand in another."""
    outer = vars(module).get(method)
    object.__setattr__(module, method, other)
    try:
        yield
    finally:
        if outer is None:
            object.__delattr__(module, method)
        else:
            object.__setattr__(module, method, outer)


def _openly(name: str, module: Attention, result: list[AttentionMap]) -> Callable[..., Tensor]:
    """``Attention.forward`` with the weights written out."""

    def forward(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        split = module._split(module.query(queries))
        scores = split @ keys.transpose(-1, -2) / math.sqrt(split.shape[-1])
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -1e9).to(scores.dtype).unsqueeze(1)
        elif causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -1e9)
        weights = scores.softmax(-1)
        if mask is not None:
            weights = weights * mask.any(-1)[:, None, :, None].to(weights.dtype)
        result.append(AttentionMap(name, weights))
        read = module.output(module._join(weights @ values))
        return read if mask is None else read * mask.any(-1, keepdim=True).to(read.dtype)

    return forward


def _kept(name: str, weights: Callable[..., Tensor], result: list[AttentionMap]) -> Callable[..., Tensor]:
    """The same weights, listed as those of one head: [rows, keys] of one query, or [rows, queries, keys]."""

    def listed(*given: Any) -> Tensor:
        own = weights(*given)
        shown = own.unsqueeze(1) if own.ndim == 3 else own[:, None, None]
        result.append(AttentionMap(name, shown))
        # what is used must be what was listed, or autograd could not reach it
        return shown.squeeze(1) if own.ndim == 3 else shown[:, 0, 0]

    return listed
