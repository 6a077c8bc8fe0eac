"""An image tokenizer of diffusers (VQModel: a codebook of vectors, arXiv:2012.09841), by hub name or folder."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from braid.errors import UserError, install_command
from braid.files import read_json
from braid.files.foreign import told
from braid.layers.context import BuildContext
from braid.modalities import ImageModality, ImageModalityConfig, TokenGrid, Tokenizer
from braid.records import Padded
from braid.shapes import Float, Int

CLASS = "VQModel"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INSTALL = f"run: {install_command('diffusers')}"


@dataclass(frozen=True)
class PretrainedCodecConfig:
    """A VQModel of diffusers; never trained.

    Args:
        source: a name on the Hugging Face hub, or a local folder; a run reads it when it starts.
        architecture: the model's configuration; a run fills it in.
    """

    kind: Literal["pretrained"] = "pretrained"
    source: str = ""
    architecture: dict[str, Any] = field(default_factory=dict)

    modality: ClassVar[str] = "image"

    def taken_over(
        self, folder: Path, modality: ImageModalityConfig, tokenizer: str, texts: Iterable[str]
    ) -> tuple["PretrainedCodecConfig", ImageModalityConfig, dict[str, Tokenizer]]:
        """The codec with its architecture; its images lie in -1..1.

        Raises:
            UserError: when the folder holds something else.
        """
        result = read_json(folder / "config.json")
        message = result.get("_class_name") if isinstance(result, dict) else None
        if message != CLASS:
            raise UserError(f"{folder} holds a model of class {message or 'unknown'}; a codec is a {CLASS} of diffusers")
        architecture = {key: value for key, value in result.items() if not key.startswith("_")}
        return replace(self, architecture=architecture), replace(modality, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), {}

    def build(self, context: BuildContext) -> "PretrainedCodec":
        if not self.architecture:
            raise UserError("a pretrained codec has a source: the name of a model on the hub, or its folder")
        return PretrainedCodec(self, context.output)


class PretrainedCodec(nn.Module):
    """diffusers' own encoder, codebook and decoder."""

    def __init__(self, config: PretrainedCodecConfig, modality: ImageModality) -> None:
        super().__init__()
        self.config = config
        try:
            self.model = _class().from_config(config.architecture)
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"the codec's architecture is none that diffusers builds ({error})") from None
        self.requires_grad_(False)
        with torch.no_grad():
            cells = self.model.encode(torch.zeros(1, 3, modality.size, modality.size)).latents.shape[2:]
        self.grid = TokenGrid(cells[0], cells[1], (self.model.quantize.n_e,))

    def load(self, folder: Path) -> None:
        """Fill in the weights of the source."""
        try:
            self.model.load_state_dict(load_file(folder / WEIGHTS))
        except FileNotFoundError:
            raise UserError(f"{folder} has no {WEIGHTS}; fetch it again") from None
        except (SafetensorError, OSError) as error:
            raise UserError(told(folder / WEIGHTS, f"cannot be read ({error}); copy it again")) from None
        except RuntimeError as error:
            raise UserError(f"{folder}/{WEIGHTS} is not of this architecture ({str(error).splitlines()[-1].strip()})") from None

    def encode(self, pixels: Float[Tensor, "n 3 size size"]) -> Int[Tensor, "n length"]:
        _, _, (_, _, tokens) = self.model.quantize(self.model.encode(pixels).latents)
        return tokens.view(-1, self.grid.length)

    def decode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n 3 size size"]:
        vectors = self.model.quantize.embedding(tokens).transpose(1, 2)
        cells = vectors.unflatten(2, (self.grid.rows, self.grid.columns))
        return self.model.decode(cells, force_not_quantize=True).sample

    def loss(self, target: Padded) -> Float[Tensor, ""]:
        """The squared error; nothing is trained by it."""
        errors = (self.decode(self.encode(target.values)) - target.values) ** 2 * target.mask.unsqueeze(1)
        return errors.sum() / (3 * target.mask.sum()).clamp(min=1)


def _class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from diffusers import VQModel
        except ImportError:
            raise UserError(f"a pretrained codec needs diffusers, which is not installed; {INSTALL}") from None
    return VQModel
