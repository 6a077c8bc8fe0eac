"""A pretrained causal language model as text decoder, which reads the fused inputs as a prefix or by cross-attention."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from braid.errors import UserError
from braid.huggingface import hub
from braid.layers.attention import reorder_cache, sequence_loss
from braid.layers.context import BuildContext
from braid.modalities import TextModality, TextModalityConfig, Tokenizer
from braid.records import Fused, Padded
from braid.shapes import Bool, Float, Int, Shaped

State = dict[str, Tensor]
CROSS = ("crossattention", "ln_cross_attn", "encoder_attn")  # what transformers calls cross-attention in its models


@dataclass(frozen=True)
class PretrainedTextDecoderConfig:
    """GPT-2, OPT, Llama, Qwen ...: any causal language model of transformers that keeps keys and values of its past.

    A run reads ``source`` when it starts and puts ``architecture`` in its place: a saved model needs neither hub nor folder.

    Args:
        source: a name on the Hugging Face hub, or a local folder.
        reads: ``prefix`` puts the fused positions before the text, as if they were words (ClipCap, arXiv:2111.09734); ``cross``
            adds cross-attention layers, which are always trained (arXiv:1907.12461); GPT-2 and BERT have a place for them.
        train: ``frozen`` trains nothing, ``full`` everything, ``lora`` low-rank matrices (arXiv:2106.09685).
        lora_rank: rank of those matrices.
        architecture: the model's transformers configuration; a run fills it in.
    """

    kind: Literal["pretrained"] = "pretrained"
    source: str = ""
    reads: Literal["prefix", "cross"] = "prefix"
    train: hub.Training = "full"
    lora_rank: int = 8
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        hub.check_part(self.source, self.architecture, self.lora_rank)

    def build(self, context: BuildContext) -> "PretrainedTextDecoder":
        return PretrainedTextDecoder(self, context.memory_width, context.output)

    def taken_over(
        self, folder: Path, modality: TextModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedTextDecoderConfig", TextModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, its text written with the model's own tokenizer, which goes under the name ``file``."""
        architecture = hub.architecture(folder, hub.WRITER)
        hub.check_length(modality.max_length, architecture)
        part = replace(self, source="", architecture=architecture)
        return part, replace(modality, tokenizer=file), {file: hub.tokenizer(folder, begins=True)}

    @property
    def settings(self) -> dict[str, Any]:
        """The architecture as a decoder that reads this way."""
        return {**self.architecture, "is_decoder": True, "add_cross_attention": self.reads == "cross"}


class PretrainedTextDecoder(nn.Module):
    """Takes the network's own cache apart into a flat state: keys and values of the fused inputs once a row (``memory.*``), those
    of the words once a beam (``cache.*``), layers stacked."""

    def __init__(self, config: PretrainedTextDecoderConfig, memory_width: int, modality: TextModality) -> None:
        super().__init__()
        self.config = config
        self.reads = config.reads
        self.modality = modality
        self.network = hub.build(config.settings, hub.WRITER)
        self._takes = set(signature(self.network.forward).parameters)
        kind = self.network.config.model_type
        if "past_key_values" not in self._takes:
            raise UserError(f"the {kind} model keeps no keys and values of what it has read; give a transformer such as GPT-2")
        if self.reads == "cross" and "encoder_hidden_states" not in self._takes:
            raise UserError(f"the {kind} model has no place for cross-attention; choose reads: prefix")
        hub.check_vocabulary(self.network, modality.vocab_size)
        hub.set_training(self.network, config.train, config.lora_rank, CROSS)
        hub.store_tied_once(self.network)
        self.width = int(self.network.get_input_embeddings().embedding_dim)
        self.memory = nn.Linear(memory_width, self.width)
        self.memory_norm = nn.LayerNorm(self.width)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a model's folder; a prefix begins at the scale of the model's own words."""
        hub.fill(self.network, hub.weights(folder, self.config.settings, hub.WRITER, CROSS))
        if self.reads == "prefix":
            nn.init.constant_(self.memory_norm.weight, float(self.network.get_input_embeddings().weight.detach().std()))

    def train(self, mode: bool = True) -> "PretrainedTextDecoder":
        """A frozen network with a prefix stays in evaluation mode; new cross-attention is trained with its dropout."""
        super().train(mode)
        if self.config.train == "frozen" and self.reads == "prefix":
            self.network.eval()
        return self

    def loss(
        self,
        fused: Fused,
        target: Padded,
        label_smoothing: float = 0.0,
        weights: Float[Tensor, "batch group"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of ``target`` [batch, group, length], each text's part times its weight."""
        return sequence_loss(self.logits(fused, target.values), nn.Identity(), target, label_smoothing, weights)

    def logits(self, fused: Fused, tokens: Int[Tensor, "batch group length"]) -> Float[Tensor, "batch group length vocab"]:
        """Teacher-forced: position ``t`` predicts token ``t + 1``."""
        state = self.reorder(self.start(fused), torch.zeros_like(tokens[:, :, 0]))
        return self._read(tokens, state)[0]

    def start(self, fused: Fused) -> State:
        """Keys and values of the fused inputs, once a row, and an empty cache of one beam."""
        memory = self.memory_norm(self.memory(fused.values)) * fused.mask.unsqueeze(-1)
        keys, values = (self._prefix if self.reads == "prefix" else self._cross)(memory, fused.mask)
        batch, depth, heads, _, head_width = keys.shape
        empty = keys.new_zeros(batch, 1, depth, heads, 0, head_width)
        return {
            "memory.keys": keys,
            "memory.values": values,
            "memory.mask": fused.mask,
            "cache.keys": empty,
            "cache.values": empty.clone(),
        }

    def step(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group vocab"], State]:
        """Read one more token a beam; the cache's group must equal that of ``tokens``."""
        logits, state = self._read(tokens.unsqueeze(-1), state)
        return logits.squeeze(2), state

    def reorder(self, state: State, parents: Int[Tensor, "batch group"]) -> State:
        return reorder_cache(state, parents)

    def _prefix(
        self, memory: Float[Tensor, "batch positions width"], mask: Bool[Tensor, "batch positions"]
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the fused positions, read as words."""
        limit = getattr(self.network.config, "max_position_embeddings", None)
        if limit and memory.shape[1] + self.modality.max_length > limit:
            raise UserError(
                f"{memory.shape[1]} fused positions and {self.modality.max_length} tokens are more than the {limit} that the "
                f"{self.network.config.model_type} model reads; choose reads: cross, or fusion: concat over vectors"
            )
        given = {"inputs_embeds": memory, "attention_mask": mask.long(), "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
        return _stacked(self._run(_cache(), given)[1])

    def _cross(
        self, memory: Float[Tensor, "batch positions width"], mask: Bool[Tensor, "batch positions"]
    ) -> tuple[Tensor, Tensor]:
        """Keys and values that cross-attention has of the fused positions, taken from the reading of one token."""
        cache = _both(_cache(), _cache())
        token = torch.zeros(memory.shape[0], 1, dtype=torch.long, device=memory.device)
        given = {"input_ids": token, "encoder_hidden_states": memory, "encoder_attention_mask": mask.long()}
        return _stacked(self._run(cache, given)[1].cross_attention_cache)

    def _read(
        self, tokens: Int[Tensor, "batch group length"], state: State
    ) -> tuple[Float[Tensor, "batch group length vocab"], State]:
        """Read ``tokens`` after those that are in the cache."""
        batch, group, length = tokens.shape
        mask = _per_beam(state["memory.mask"], group)
        memory = [_per_beam(state[f"memory.{part}"], group) for part in ("keys", "values")]
        past = [state[f"cache.{part}"].flatten(0, 1) for part in ("keys", "values")]
        read, positions = past[0].shape[3], mask.shape[1]
        given: dict[str, Tensor] = {"input_ids": tokens.flatten(0, 1)}
        place = torch.arange(read, read + length, device=tokens.device).expand(batch * group, -1)
        if self.reads == "prefix":
            words = mask.new_ones(batch * group, read + length)
            given["attention_mask"] = torch.cat([mask, words], 1).long()
            given["position_ids"] = place + mask.sum(1, keepdim=True)
            logits, grown = self._run(_cache(memory, past), given)
            keys, values = (whole[:, :, :, positions:].contiguous() for whole in _stacked(grown))
        else:
            given["encoder_hidden_states"] = memory[0].new_zeros(1, 1, 1).expand(batch * group, positions, self.width)  # unread
            given["encoder_attention_mask"] = mask.long()
            given["position_ids"] = place
            logits, grown = self._run(_both(_cache(past), _cache(memory)), given)
            keys, values = _stacked(grown.self_attention_cache)
        new = {"cache.keys": keys.unflatten(0, (batch, group)), "cache.values": values.unflatten(0, (batch, group))}
        return logits.unflatten(0, (batch, group)), {**state, **new}

    def _run(self, cache: Any, given: dict[str, Tensor]) -> tuple[Float[Tensor, "rows length vocab"], Any]:
        """Logits over the tokenizer's own tokens, and the grown cache."""
        taken = {name: value for name, value in given.items() if name in self._takes}
        result = self.network(**taken, past_key_values=cache, use_cache=True)
        return result.logits[..., : self.modality.vocab_size], result.past_key_values


def _per_beam(memory: Shaped[Tensor, "batch ..."], group: int) -> Shaped[Tensor, "rows ..."]:
    """What a row has once, for each of its beams: the network knows no groups (the exporter's repeat_interleave is wrong)."""
    return memory.unsqueeze(1).expand(-1, group, *memory.shape[1:]).flatten(0, 1)


def _cache(*parts: Sequence[Float[Tensor, "rows depth heads _ head_width"]]) -> Any:
    """A cache of transformers that holds these keys and values, one part after the other."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for keys, values in parts:
        for layer in range(keys.shape[1]):
            cache.update(keys[:, layer], values[:, layer], layer)
    return cache


def _both(own: Any, cross: Any) -> Any:
    from transformers import EncoderDecoderCache

    return EncoderDecoderCache(own, cross)


def _stacked(cache: Any) -> tuple[Tensor, Tensor]:
    """Keys and values of every layer [rows, depth, heads, length, head_width]."""
    return torch.stack([layer.keys for layer in cache.layers], 1), torch.stack([layer.values for layer in cache.layers], 1)
