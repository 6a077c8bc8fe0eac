"""Pretrained text and image encoders of Hugging Face, with their own tokenizers and image statistics."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from braid.config import within
from braid.errors import UserError
from braid.huggingface import hub, wordpieces
from braid.layers.attention import grid_boxes, grid_features, token_extent
from braid.modalities import ImageModality, ImageModalityConfig, TextModality, TextModalityConfig, Tokenizer
from braid.records import Features, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class PretrainedTextEncoderConfig:
    """BERT, RoBERTa, MiniLM, GPT-2, T5 ...: any text model of transformers.

    ``source`` is a hub name or a local folder, read when a run starts; from then on ``architecture``, the model's transformers
    configuration, stands in its place, and a saved model needs neither hub nor folder. ``train``: nothing, everything, or LoRA
    matrices of ``lora_rank``.

    Two settings make the model smaller when it is taken over; 0 keeps all. ``vocab_size``: at most so many WordPieces, those that
    the run's own training texts use most, so that any text can still be read. ``depth``: the first so many layers.
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

    def build(self, modality: TextModality) -> "PretrainedTextEncoder":
        return PretrainedTextEncoder(self, modality)

    def taken_over(
        self, folder: Path, modality: TextModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedTextEncoderConfig", TextModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, its input read with the model's own tokenizer, and that under the name ``file``.

        Args:
            texts: what the run will read with it; looked at where ``vocab_size`` says so.
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


@dataclass(frozen=True)
class PretrainedImageEncoderConfig:
    """ResNet, ViT, DINOv2, Swin, the picture half of CLIP or SigLIP ...: any vision encoder of transformers.

    Settings as for ``PretrainedTextEncoderConfig``.
    """

    kind: Literal["pretrained_image"] = "pretrained_image"
    source: str = ""
    train: hub.Training = "frozen"
    lora_rank: int = 8
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        hub.check_part(self.source, self.architecture, self.lora_rank)

    def build(self, modality: ImageModality) -> "PretrainedImageEncoder":
        return PretrainedImageEncoder(self, modality)

    def taken_over(
        self, folder: Path, modality: ImageModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedImageEncoderConfig", ImageModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, and its input made of the size and with the mean and std of the model's own."""
        return replace(self, source="", architecture=hub.architecture(folder, hub.IMAGE)), hub.images(folder), {}


class _Pretrained(nn.Module):
    """What both share: a network of transformers that is filled from a folder and stays as it is where it is frozen."""

    role: ClassVar[hub.Role]
    network: Any

    def __init__(self, config: PretrainedTextEncoderConfig | PretrainedImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.network = hub.build(config.architecture, self.role)
        hub.set_training(self.network, config.train, config.lora_rank)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a model's folder."""
        hub.fill(self.network, hub.weights(folder, self.config.architecture, self.role))

    def train(self, mode: bool = True) -> "_Pretrained":
        """A frozen network keeps still in training too: no dropout, no new batch statistics."""
        super().train(mode)
        if self.config.train == "frozen":
            self.network.eval()
        return self


class PretrainedTextEncoder(_Pretrained):
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


class PretrainedImageEncoder(_Pretrained):
    """Pixels [n, 3, size, size] -> one vector a patch or cell, row by row, after those that stand for the whole picture."""

    role = hub.IMAGE

    def __init__(self, config: PretrainedImageEncoderConfig, modality: ImageModality) -> None:
        super().__init__(config)
        self.width = self._probed(modality.size)

    def forward(self, inputs: Padded) -> Features:
        result = self.network(pixel_values=inputs.values).last_hidden_state
        return grid_features(result, inputs.mask) if result.ndim == 4 else _patches(result, inputs.mask)

    def _probed(self, size: int) -> int:
        """The width of what the network gives for one blank picture: configurations name it in many ways."""
        blank = Padded(torch.zeros(1, 3, size, size), torch.ones(1, size, size, dtype=torch.bool))
        kind = self.network.config.model_type
        try:
            with torch.no_grad():
                return int(self.eval()(blank).values.shape[2])
        except (ValueError, RuntimeError) as error:
            message = " ".join(str(error).split())[:160]
            raise UserError(f"the {kind} model does not take pictures of {size} pixels ({message})") from None
        finally:
            self.train()


def _patches(values: Float[Tensor, "n positions width"], mask: Bool[Tensor, "n height width"]) -> Features:
    """The last positions are a square grid of patches; those before (class and register tokens) see all of the picture."""
    side = int(values.shape[1] ** 0.5)
    whole = values.shape[1] - side * side
    patches = F.adaptive_max_pool2d(mask.unsqueeze(1).float(), (side, side)).flatten(1) > 0
    real = torch.cat([mask.flatten(1).any(1, keepdim=True).expand(-1, whole), patches], 1)
    boxes = grid_boxes(side, side, values.device)
    return Features(values, real, torch.cat([boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]]).expand(whole, -1), boxes]))
