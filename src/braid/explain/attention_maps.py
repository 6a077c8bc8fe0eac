"""Records attention weights while a block of code runs; outside of the block, a model runs at full speed and keeps none."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from braid.decoders.recurrent import AdditiveAttention
from braid.explain.subject import Subject, Written
from braid.layers.attention import Attention, AttentionPooling
from braid.records import Features, Fused
from braid.shapes import Float


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """The attention weights of one module; the weights of a query sum to 1 over the keys that it may read.

    ``name`` is the module's path in the model, such as ``decoders.text.blocks.0.cross_attention``. A module that runs several
    times, such as once per word, adds a map each time.
    """

    name: str
    weights: Float[Tensor, "rows heads queries keys"]


@contextmanager
def record_attention(model: nn.Module) -> Iterator[list[AttentionMap]]:
    """Record all attention maps while the block runs, in the order of execution, with gradients.

    Results equal those of the fast path, up to rounding. The attention of networks from transformers is not recorded.
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
    """Replace a method of one object until the block ends; blocks may be nested."""
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
    """``Attention.forward`` with explicit weights, which are recorded."""

    def forward(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        split = module.split(module.query(queries))
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
    """The same weights, recorded as one head: [rows, keys] of one query, or [rows, queries, keys]."""

    def listed(*given: Any) -> Tensor:
        own = weights(*given)
        shown = own.unsqueeze(1) if own.ndim == 3 else own[:, None, None]
        result.append(AttentionMap(name, shown))
        # use the recorded tensor itself, so that autograd reaches it
        return shown.squeeze(1) if own.ndim == 3 else shown[:, 0, 0]

    return listed


Relevance = Float[Tensor, "_rows _positions _sources"]  # the share of each source in a position
Rule = Callable[[Relevance, Float[Tensor, "_rows _queries _keys"], Relevance], Relevance]  # own, weights, relevance that is read
NamedMap = tuple[str, Float[Tensor, "_rows _queries _keys"]]  # a module's path, and one map for all heads


def half(own: Relevance, weights: Float[Tensor, "_rows _queries _keys"], read: Relevance) -> Relevance:
    return 0.5 * own + 0.5 * weights @ read


def added(own: Relevance, weights: Float[Tensor, "_rows _queries _keys"], read: Relevance) -> Relevance:
    return own + weights @ read


def keeps_positions(features: Mapping[str, Features], fused: Fused) -> bool:
    """Whether the fusion keeps the positions of all inputs, and their masks."""
    lengths = {name: one.mask.shape[1] for name, one in features.items()}
    if {name: last - first for name, (first, last) in fused.spans.items()} != lengths:
        return False
    return torch.equal(fused.mask, torch.cat([features[name].mask for name in fused.spans], 1))


def before_fusion(subject: Subject, maps: Sequence[NamedMap], rule: Rule) -> dict[str, Float[Tensor, "_length _sources"]]:
    """The relevance of each source for each position of an input, after its encoder's attention."""
    result = {}
    for name, one in subject.features.items():
        length = one.mask.shape[1]
        relevance = torch.eye(length, device=one.mask.device).unsqueeze(0)
        for path, weights in maps:
            if path.startswith(f"encoders.{name}.") and weights.shape[1:] == (length, length):
                relevance = rule(relevance, weights, relevance)
        result[name] = relevance[0]
    return result


def through_fusion(
    before: Mapping[str, Float[Tensor, "_length _sources"]], fused: Fused, maps: Sequence[NamedMap], rule: Rule
) -> Float[Tensor, "_rows fused sources"]:
    """The relevance of each source (all inputs, concatenated in the order of the fusion) for each fused position.

    The shape of a map and the input in its module's path show its meaning: all positions read all positions, an input reads the
    other inputs, or an input and a few shared positions read each other.
    """
    rows = max([1, *(weights.shape[0] for _, weights in maps)])
    relevance = torch.block_diag(*(before[name] for name in fused.spans)).expand(rows, -1, -1)
    shared: Tensor | None = None
    for layer in _layers(maps):
        old, message = relevance, []
        for path, weights in layer:
            queries, keys = weights.shape[1:]
            name = next((part for part in path.split(".") if part in fused.spans), "")
            first, last = fused.spans.get(name, (0, relevance.shape[1]))
            own, length = old[:, first:last], last - first
            if keys == queries == length:
                relevance = _with(relevance, first, rule(own, weights, own))
            elif queries == length and keys == old.shape[1] - length:
                others = torch.cat([old[:, :first], old[:, last:]], 1)
                relevance = _with(relevance, first, rule(own, weights, others))
            elif queries == keys > length:
                if shared is None or shared.shape[1] != queries - length:
                    shared = own.new_zeros(rows, queries - length, own.shape[2])
                both = torch.cat([own, shared], 1)
                both = rule(both, weights, both)
                relevance = _with(relevance, first, both[:, :length])
                message.append(both[:, length:])
        shared = torch.stack(message).mean(0) if message else shared
    return relevance


def through_decoder(
    subject: Subject, memory: Float[Tensor, "_rows fused sources"], maps: Sequence[NamedMap], rule: Rule
) -> Float[Tensor, "outputs sources"]:
    """The relevance of each source for each output, through the decoder's attention to the fused positions."""
    answer, positions = subject.answer, memory.shape[1]
    if not isinstance(answer, Written) or not any("self_attention" in path for path, _ in maps):
        steps = [weights for _, weights in maps if weights.shape[2] == positions]
        return _read_at(subject, torch.cat(steps, 1), memory)
    result = memory.new_zeros(1, len(answer.tokens), memory.shape[2])
    for path, weights in maps:
        result = rule(result, weights, result if "self_attention" in path else memory)
    return answer.reading(result)


def _read_at(
    subject: Subject, weights: Float[Tensor, "_rows _queries fused"], memory: Float[Tensor, "_rows fused sources"]
) -> Float[Tensor, "outputs sources"]:
    read = subject.answer.reading(weights)
    return (read.unsqueeze(1) @ memory.expand(len(read), -1, -1)).squeeze(1)


def split(fused: Fused, result: Float[Tensor, "outputs sources"]) -> dict[str, Float[Tensor, "outputs _length"]]:
    """Split the sources by input."""
    return {name: result[:, first:last] for name, (first, last) in fused.spans.items()}


def _layers(maps: Sequence[NamedMap]) -> list[list[NamedMap]]:
    """Group maps by the number of their layer; all maps of a layer read the output of the layer before."""
    result: dict[str, list[NamedMap]] = {}
    for path, weights in maps:
        number = re.search(r"\.(\d+)\.", path)
        result.setdefault(number[1] if number else path, []).append((path, weights))
    return list(result.values())


def _with(relevance: Relevance, first: int, part: Relevance) -> Relevance:
    """The relevance with ``part`` in place of the positions from ``first``."""
    rows = max(relevance.shape[0], part.shape[0])
    whole, own = relevance.expand(rows, -1, -1), part.expand(rows, -1, -1)
    return torch.cat([whole[:, :first], own, whole[:, first + part.shape[1] :]], 1)
