"""Image generation: a sentence -> an image; and editing: an image and an instruction -> an image and a sentence about it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from braid.config import named
from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime
from braid.generation.images import ImageSamplingConfig, StepWatch, sample_tokens
from braid.modalities import ImageModality
from braid.records import Batch, Example, GeneratedImage, Prediction, Sample
from braid.shapes import Float
from braid.tasks.protocol import TaskProtocol, inputs_of

if TYPE_CHECKING:
    from braid.datasets.scenes import SceneCheck


@dataclass(frozen=True)
class ImageGeneration(TaskProtocol):
    """A caption becomes an image, or an instruction and an image become the edited image.

    Args:
        sentence: the decoder ``text`` also describes the target in words.
        sampling: how the tokens of an image are sampled.
        generation: how the sentence is searched for.
    """

    kind: Literal["image_generation"] = "image_generation"
    sentence: bool = False
    sampling: ImageSamplingConfig = field(default_factory=ImageSamplingConfig)
    generation: GenerationConfig = field(default_factory=lambda: GenerationConfig(method="greedy", max_length=39))

    decoder: ClassVar[str] = "image"
    main_metric: ClassVar[str] = "val_loss"
    per_sample_metric: ClassVar[str] = "objects"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    target_fields: ClassVar[tuple[str, ...]] = ("target",)

    @property
    def decoders(self) -> tuple[str, ...]:
        return ("image", "text") if self.sentence else ("image",)

    def with_sampling(self, changes: Mapping[str, Any]) -> "ImageGeneration":
        with named("sampling"):
            return replace(self, sampling=replace(self.sampling, **changes))

    def check_inputs(self, sample: Sample, inputs: Mapping[str, Any]) -> None:
        prompt, modality = sample.inputs["prompt"], inputs["prompt"]
        length, most = len(modality.tokenizer.encode(prompt)), modality.max_length - 2
        if length > most:
            raise UserError(f"the prompt has {length} tokens; this model reads at most {most}, make it shorter")

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The image is an input if the row has an instruction, else it is the target."""
        read = {role: value for role, value in fields.items() if role != "image" or "instruction" in fields}
        return inputs_of(read, "captions", "instruction")

    def expand(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield one example per caption, which is its prompt; an edit stays one example."""
        for example in examples:
            if "instruction" in example.fields:
                yield example
                continue
            for caption in example.fields.get("captions", ()):
                yield replace(example, fields={**example.fields, "captions": (caption,)})

    def prepare(self, example: Example) -> Sample:
        """``references`` list what the image of a scene must contain, if the row says so.

        Raises:
            UserError: for a row without a prompt, or an empty one.
        """
        fields = example.fields
        edits = "instruction" in fields
        prompt = fields["instruction"] if edits else next(iter(fields.get("captions", ())), None)
        if prompt is None:
            message = "image generation needs a caption or an instruction"
            raise UserError(f"{example.source}: {message}; map its column with --columns captions=NAME")
        if not prompt.strip():
            raise UserError(f"{example.source}: the prompt is empty; describe the image")
        inputs = self.inputs_of(fields) | {"prompt": prompt}
        target = fields.get("target", None if edits else fields.get("image"))
        targets = {} if target is None else {"image": target}
        if self.sentence and targets:
            targets["text"] = tuple(fields.get("captions", ()))
        return Sample(example.id, inputs, targets, tuple(fields.get("holds", ())), example.source)

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """One image per row, and its sentence; ``watch`` follows the sampling steps."""
        modality = runtime.outputs[self.decoder]
        assert isinstance(modality, ImageModality)
        codec = runtime.codec(self.decoder)
        tokens = sample_tokens(runtime.image_decoder(self.decoder), codec.grid, batch, self.sampling, watch)
        # one by one: how many are computed at once would change the last bit of a sum, and with it a rounded pixel
        images = [modality.images(codec.pixels(one[None]))[0] for one in tokens]
        generated = [GeneratedImage(image, row, codec.grid.codes) for image, row in zip(images, tokens, strict=True)]
        texts = runtime.write("text", batch, self.generation) if self.sentence else [Prediction(one) for one in batch.ids]
        return [replace(one, image=image) for one, image in zip(texts, generated, strict=True)]

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """For scenes, measured by their oracle, x100: ``objects`` (right in shape, colour and place), ``sized`` (also in size),
        ``whole`` (images with every object right and no other), ``sentences`` (sentences that are true of the generated
        image)."""
        verdicts = _scene_checks(predictions, samples)
        metrics = {"num_samples": float(len(predictions))}
        if verdicts:
            metrics["objects"] = 100 * float(np.mean([right for one in verdicts for right in one.right]))
            metrics["sized"] = 100 * float(np.mean([right for one in verdicts for right in one.sized]))
            metrics["whole"] = 100 * float(np.mean([one.whole for one in verdicts]))
        if verdicts and self.sentence:
            metrics["sentences"] = 100 * float(np.mean([_agree(one) for one in predictions]))
        return metrics

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """The share of each scene's objects that are right, x100.

        Raises:
            UserError: when rows do not say what their image must contain.
        """
        verdicts = _scene_checks(predictions, samples)
        if len(verdicts) < len(samples):
            raise UserError("these rows do not say what an image must contain, so models cannot be compared on them; use scenes")
        return 100 * np.array([np.mean(one.right) for one in verdicts], np.float64)


def _scene_checks(predictions: Sequence[Prediction], samples: Sequence[Sample]) -> "list[SceneCheck]":
    from braid.datasets.scenes import check_scene  # imported here, because the data sets take a tenth of the start-up time

    pairs = zip(predictions, samples, strict=True)
    return [check_scene(one.image.pixels, sample.references) for one, sample in pairs if one.image and sample.references]


def _agree(prediction: Prediction) -> bool:
    from braid.datasets.scenes import check_scene, read_sentence

    objects = read_sentence(prediction.text or "")
    return bool(objects) and prediction.image is not None and check_scene(prediction.image.pixels, objects).whole
