"""A pretrained image encoder of Hugging Face, with its own image statistics."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from braid.errors import UserError
from braid.huggingface import hub
from braid.huggingface.hub import PretrainedEncoder
from braid.layers.attention import grid_boxes, grid_features
from braid.layers.context import BuildContext
from braid.modalities import ImageModality, ImageModalityConfig, Tokenizer
from braid.records import Features, Padded
from braid.shapes import Bool, Float


@dataclass(frozen=True)
class PretrainedImageEncoderConfig:
    """ResNet, ViT, DINOv2, Swin, the image half of CLIP or SigLIP ...: any vision encoder of transformers.

    A run reads ``source`` when it starts and puts ``architecture`` in its place: a saved model needs neither hub nor folder.

    Args:
        source: a name on the Hugging Face hub, or a local folder.
        train: ``frozen`` trains nothing, ``full`` everything, ``lora`` low-rank matrices (arXiv:2106.09685).
        lora_rank: rank of those matrices.
        architecture: the model's transformers configuration; a run fills it in.
    """

    kind: Literal["pretrained_image"] = "pretrained_image"
    source: str = ""
    train: hub.Training = "frozen"
    lora_rank: int = 8
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        hub.check_part(self.source, self.architecture, self.lora_rank)

    def build(self, context: BuildContext) -> "PretrainedImageEncoder":
        return PretrainedImageEncoder(self, context.input)

    def taken_over(
        self, folder: Path, modality: ImageModalityConfig, file: str, texts: Iterable[str] = ()
    ) -> tuple["PretrainedImageEncoderConfig", ImageModalityConfig, dict[str, Tokenizer]]:
        """This part without its source, and its input made of the size and with the mean and std of the model's own."""
        return replace(self, source="", architecture=hub.architecture(folder, hub.IMAGE)), hub.images(folder), {}


class PretrainedImageEncoder(PretrainedEncoder):
    """Pixels [n, 3, size, size] -> one vector a patch or cell, row by row, after those of the whole image."""

    role = hub.IMAGE

    def __init__(self, config: PretrainedImageEncoderConfig, modality: ImageModality) -> None:
        super().__init__(config)
        self.width = self._probed(modality.size)

    def forward(self, inputs: Padded) -> Features:
        result = self.network(pixel_values=inputs.values).last_hidden_state
        return grid_features(result, inputs.mask) if result.ndim == 4 else _patches(result, inputs.mask)

    def _probed(self, size: int) -> int:
        """The width of what the network gives for one blank image: configurations name it in many ways."""
        blank = Padded(torch.zeros(1, 3, size, size), torch.ones(1, size, size, dtype=torch.bool))
        kind = self.network.config.model_type
        try:
            with torch.no_grad():
                return int(self.eval()(blank).values.shape[2])
        except (ValueError, RuntimeError) as error:
            message = " ".join(str(error).split())[:160]
            raise UserError(f"the {kind} model does not take images of {size} pixels ({message})") from None
        finally:
            self.train()


def _patches(values: Float[Tensor, "n positions width"], mask: Bool[Tensor, "n height width"]) -> Features:
    """The last positions are a square grid of patches; those before (class and register tokens) see all of the image."""
    side = int(values.shape[1] ** 0.5)
    whole = values.shape[1] - side * side
    patches = F.adaptive_max_pool2d(mask.unsqueeze(1).float(), (side, side)).flatten(1) > 0
    real = torch.cat([mask.flatten(1).any(1, keepdim=True).expand(-1, whole), patches], 1)
    boxes = grid_boxes(side, side, values.device)
    return Features(values, real, torch.cat([boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]]).expand(whole, -1), boxes]))
