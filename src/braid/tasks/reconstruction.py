"""Reconstruction: an image -> tokens -> the same image; it trains a codec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from braid.errors import UserError
from braid.generation import Runtime
from braid.generation.images import StepWatch
from braid.metrics import code_use, psnr, ssim
from braid.modalities import ImageModality
from braid.records import Batch, Example, GeneratedImage, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol

ROLE = "image"


@dataclass(frozen=True)
class Reconstruction(TaskProtocol):
    """The image is the target; the task has no inputs."""

    kind: Literal["reconstruction"] = "reconstruction"

    decoder: ClassVar[str] = "image"
    part: ClassVar[Literal["decoders", "codecs"]] = "codecs"
    main_metric: ClassVar[str] = "psnr"
    per_sample_metric: ClassVar[str] = "psnr"
    unit: ClassVar[str] = "value"

    def prepare(self, example: Example) -> Sample:
        if ROLE not in example.fields:
            raise UserError(f"{example.source}: reconstruction needs an image; map its column with --columns image=NAME")
        return Sample(example.id, {}, {self.decoder: example.fields[ROLE]}, source=example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """The image decoded from each row's tokens, with PSNR and SSIM to the target."""
        modality, target = runtime.outputs[self.decoder], batch.targets[self.decoder]
        assert isinstance(modality, ImageModality)
        codec = runtime.codec(self.decoder)
        tokens = codec.tokens(target.values)
        pairs = zip(modality.images(target.values), modality.images(codec.pixels(tokens)), strict=True)
        result = []
        for row, (original, decoded) in enumerate(pairs):
            metrics = {"psnr": psnr(original, decoded), "ssim": 100 * ssim(original, decoded)}
            result.append(
                Prediction(batch.ids[row], image=GeneratedImage(decoded, tokens[row], codec.grid.codes), metrics=metrics)
            )
        return result

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """``psnr`` in dB and ``ssim`` x100, means over images; ``code-use`` x100 and ``code-perplexity`` over all tokens."""
        means = {name: float(np.mean([one.metrics[name] for one in predictions])) for name in ("psnr", "ssim")}
        generated = [one.image for one in predictions if one.image]
        use = code_use([one.tokens for one in generated], generated[0].codes)
        return {**means, **use, "num_samples": float(len(predictions))}

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """The PSNR of each row."""
        return np.array([one.metrics[self.per_sample_metric] for one in predictions], np.float64)
