"""A pretrained text encoder of Hugging Face, with its own tokenizer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from braid.config import within
from braid.errors import UserError
from braid.huggingface import hub, wordpieces
from braid.huggingface.hub import PretrainedEncoder
from braid.layers.attention import token_extent
from braid.layers.context import BuildContext
from braid.modalities import TextModality, TextModalityConfig, Tokenizer
from braid.records import Features, Padded


@dataclass(frozen=True)
class PretrainedTextEncoderConfig:
    """BERT, RoBERTa, MiniLM, GPT-2, T5 ...: any text model of transformers.

    A run reads ``source`` when it starts and puts ``architecture`` in its place: a saved model needs neither hub nor folder.

    Args:
        source: a name on the Hugging Face hub, or a local folder.
        vocab_size: keeps at most so many WordPieces, those that the training texts use most; 0 keeps all. Any text can be read.
        depth: keeps the first so many layers; 0 keeps all.
        train: ``frozen`` trains nothing, ``full`` everything, ``lora`` low-rank matrices (arXiv:2106.09685).
        lora_rank: rank of those matrices.
        architecture: the model's transformers configuration; a run fills it in.
    """

    kind: Literal["pretrained_text"] = "pretrained_text"
    source: str = ""
    vocab_size: int = 0
    depth: int = 0
    train: hub.Training = "frozen"
    lora_rank: int = 8
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        hub.check_part(self.source, self.architecture, self.lora_rank)
        within(self, 0, math.inf, "vocab_size", "depth")
        if not self.source and (self.vocab_size or self.depth):
            raise UserError("vocab_size and depth make a model smaller when it is taken over; give them together with its source")

    def build(self, context: BuildContext) -> "PretrainedTextEncoder":
        return PretrainedTextEncoder(self, context.input)

    def taken_over(
        self, folder: Path, modality: TextModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedTextEncoderConfig", TextModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, its input read with the model's own tokenizer, which goes under the name ``file``.

        Args:
            texts: the training texts; read where ``vocab_size`` is set.
        """
        architecture = hub.architecture(folder, hub.TEXT)
        hub.check_length(modality.max_length, architecture)
        tokenizer = hub.tokenizer(folder)
        if self.depth:
            architecture = hub.shortened(architecture, self.depth)
        if self.vocab_size:
            whole, tokenizer = tokenizer, wordpieces.most_used(tokenizer, texts, self.vocab_size, folder)
            architecture = wordpieces.renumbered(architecture, tokenizer, whole)
        part = replace(self, source="", vocab_size=0, depth=0, architecture=architecture)
        return part, replace(modality, tokenizer=file), {file: tokenizer}


class PretrainedTextEncoder(PretrainedEncoder):
    """Tokens [n, length] -> the network's last hidden state at each."""

    role = hub.TEXT

    def __init__(self, config: PretrainedTextEncoderConfig, modality: TextModality) -> None:
        super().__init__(config)
        hub.check_vocabulary(self.network, modality.vocab_size)
        self.modality = modality
        self.width = int(self.network.config.hidden_size)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a model's folder: those of the layers and the tokens that are here."""
        state, whole = hub.weights(folder, hub.architecture(folder, hub.TEXT), hub.TEXT), hub.tokenizer(folder)
        if self.modality.vocab_size < whole.vocab_size:
            state = hub.rows_of(state, self.network, wordpieces.numbers(self.modality.tokenizer, whole))
        hub.fill(self.network, state)

    def forward(self, inputs: Padded) -> Features:
        result = self.network(input_ids=inputs.values, attention_mask=inputs.mask.long())
        return Features(result.last_hidden_state, inputs.mask, token_extent(inputs.values))
