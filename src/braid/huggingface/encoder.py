"""A Hugging Face model as an encoder, whatever it reads."""

from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from braid.huggingface import hub


class PretrainedEncoder(nn.Module):
    """A network of transformers that is filled from a folder, and does not change where it is frozen."""

    role: ClassVar[hub.Role]
    network: Any

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.network = hub.build(config.architecture, self.role)
        hub.set_training(self.network, config.train, config.lora_rank)

    def load(self, folder: Path) -> None:
        """Fill in the weights of a model's folder."""
        hub.fill(self.network, hub.weights(folder, self.config.architecture, self.role))

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        """A frozen network stays in evaluation mode: no dropout, no new batch statistics."""
        super().train(mode)
        if self.config.train == "frozen":
            self.network.eval()
        return self
