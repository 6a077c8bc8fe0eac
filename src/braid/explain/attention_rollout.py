"""How attention, layer after layer, carries the positions of the inputs to the words of an answer.

Two rules of one step are in use: rollout's, half of a position stays itself (arXiv:2005.00928), and that of gradient x attention
relevance, where what is read is added (arXiv:2103.15679).
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from braid.explain.answers import Written
from braid.explain.subject import Subject
from braid.records import Features, Fused
from braid.shapes import Float

Relevance = Float[Tensor, "_rows _positions _sources"]  # how much of each source there is in a position
Rule = Callable[[Relevance, Float[Tensor, "_rows _queries _keys"], Relevance], Relevance]  # own, weights, what is read
NamedMap = tuple[str, Float[Tensor, "_rows _queries _keys"]]  # a module's path, and its heads in one map


def half(own: Relevance, weights: Float[Tensor, "_rows _queries _keys"], read: Relevance) -> Relevance:
    return 0.5 * own + 0.5 * weights @ read


def added(own: Relevance, weights: Float[Tensor, "_rows _queries _keys"], read: Relevance) -> Relevance:
    return own + weights @ read


def keeps_positions(features: Mapping[str, Features], fused: Fused) -> bool:
    """Whether each fused position is one of an input's, and all that are real can be read."""
    lengths = {name: one.mask.shape[1] for name, one in features.items()}
    if {name: last - first for name, (first, last) in fused.spans.items()} != lengths:
        return False
    return torch.equal(fused.mask, torch.cat([features[name].mask for name in fused.spans], 1))


def before_fusion(subject: Subject, maps: Sequence[NamedMap], rule: Rule) -> dict[str, Float[Tensor, "_length _sources"]]:
    """What there is of each source in an input's positions after its encoder, where that reads by attention."""
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
    """What there is of each source (all inputs' end to end, in the order of the fusion) in the fused positions.

    A map is understood by its shape and by the input that its module's path names: all positions read all, an input's read the
    others', or an input's and a few shared ones read each other.
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
    """What there is of each source in what the decoder reads for each output; it has maps of attention to what was fused."""
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
    """The sources of each input."""
    return {name: result[:, first:last] for name, (first, last) in fused.spans.items()}


def _layers(maps: Sequence[NamedMap]) -> list[list[NamedMap]]:
    """Maps of one numbered layer together: its parts read what the layer before it gave."""
    result: dict[str, list[NamedMap]] = {}
    for path, weights in maps:
        number = re.search(r"\.(\d+)\.", path)
        result.setdefault(number[1] if number else path, []).append((path, weights))
    return list(result.values())


def _with(relevance: Relevance, first: int, part: Relevance) -> Relevance:
    """The relevance with some of its positions replaced."""
    rows = max(relevance.shape[0], part.shape[0])
    whole, own = relevance.expand(rows, -1, -1), part.expand(rows, -1, -1)
    return torch.cat([whole[:, :first], own, whole[:, first + part.shape[1] :]], 1)
