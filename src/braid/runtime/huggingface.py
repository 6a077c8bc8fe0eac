"""Whole image-to-text models of Hugging Face in Braid: BLIP, VisionEncoderDecoder, image-text-to-text models.

The model's own processor prepares images and text, and its own ``generate`` writes, so answers are the same as in transformers.
Braid reads files, makes batches, and computes confidence and metrics.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from braid.bundle import Bundle, DataCard, Interface
from braid.config import to_dict
from braid.errors import UserError
from braid.generation import Decoder, GenerationConfig, ImageCodec, Stepper
from braid.huggingface import hub
from braid.modalities import (
    ImageModality,
    ImageModalityConfig,
    InputModality,
    InputModalityConfig,
    OutputModality,
    TextModalityConfig,
    Tokenizer,
)
from braid.modalities.image import PreparedImage
from braid.records import Batch, BatchInput, Padded, Prediction
from braid.shapes import Float, Int
from braid.tasks import Captioning, Task, VisualQuestionAnswering

LONGEST = 2048  # pixels of an image's longer side; the model's own processor resizes it further
GENERATION = GenerationConfig(method="beam", beam=3, length_penalty=1.0, max_length=40)


class OwnSize(ImageModality):
    """Images in their own size, for a processor that resizes them itself."""

    def __init__(self) -> None:
        super().__init__(ImageModalityConfig(size=LONGEST))

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> PreparedImage:
        image = self.decoded(value, source)
        image.thumbnail((LONGEST, LONGEST))
        pixels = np.asarray(image)
        return PreparedImage(pixels, np.ones(pixels.shape[:2], dtype=bool))

    def pad(self, values: Sequence[PreparedImage]) -> Padded:
        """``values [n, 3, height, width]`` uint8, padded to the largest image, and ``mask [n, height, width]``."""
        height, width = (max(image.mask.shape[axis] for image in values) for axis in (0, 1))
        pixels = np.zeros((len(values), 3, height, width), dtype=np.uint8)
        mask = np.zeros((len(values), height, width), dtype=bool)
        for row, image in enumerate(values):
            rows, columns = image.mask.shape
            pixels[row, :, :rows, :columns] = image.pixels.transpose(2, 0, 1)
            mask[row, :rows, :columns] = True
        return Padded(pixels, mask)


class HuggingFaceBundle(Bundle):
    """A folder in Hugging Face's format, with the interface of a saved model."""

    @cached_property
    def inputs(self) -> dict[str, InputModality]:
        return {**super().inputs, "image": OwnSize()}


def load_whole(
    source: str, runtime: str = "", device: str = "auto", precision: str = "float32"
) -> tuple[HuggingFaceBundle, "HuggingFaceRuntime"]:
    """Load a model by its name on the hub or by its folder.

    Raises:
        UserError: when it does not exist, cannot be read, or does not describe images; or for a runtime, device or precision
            that it does not have.
    """
    if runtime == "onnx":
        raise UserError(f"hf:{source} runs on torch only; leave the runtime out")
    if device not in ("auto", "cpu"):
        raise UserError(f"hf:{source} runs on the processor only, not on {device!r}; leave the device out")
    if precision != "float32":
        raise UserError(f"hf:{source} runs in float32 only; leave the precision out")
    folder = hub.find(source)
    model = hub.whole(folder)
    processing = (ImageTextProcessing if _reads_text(model) else ImageProcessing)(folder)
    tasks: dict[str, Any] = {task.kind: to_dict(task) for task in processing.tasks}
    interface = Interface(processing.inputs, {}, tasks, card=DataCard(name=source))
    bundle = HuggingFaceBundle(folder, interface, {"tokenizer": Tokenizer.of_bytes()}, None)
    return bundle, HuggingFaceRuntime(model, processing, folder)


def _reads_text(model: Any) -> bool:
    """Whether the model has a token for the place of an image in a text."""
    config = model.config
    return any(getattr(config, name, None) is not None for name in ("image_token_id", "image_token_index"))


class ImageProcessing:
    """Preprocessing for BLIP, VisionEncoderDecoder and GIT: pixels without text."""

    inputs: ClassVar[dict[str, InputModalityConfig]] = {"image": ImageModalityConfig()}
    tasks: ClassVar[tuple[Task, ...]] = (Captioning(generation=GENERATION),)

    def __init__(self, folder: Path) -> None:
        self.processor = _read(hub.library().AutoImageProcessor, folder)
        self.tokenizer = hub.own_tokenizer(folder)

    def __call__(self, images: list[Image.Image], prompts: BatchInput | None) -> dict[str, Any]:
        return dict(self.processor(images=images, return_tensors="pt"))


class ImageTextProcessing:
    """Preprocessing for LLaVA, SmolVLM, PaliGemma and other image-text-to-text models: an image and a prompt."""

    inputs: ClassVar[dict[str, InputModalityConfig]] = {
        "image": ImageModalityConfig(),
        "prompt": TextModalityConfig(max_length=4096),
    }
    tasks: ClassVar[tuple[Task, ...]] = (Captioning(generation=GENERATION), VisualQuestionAnswering(generation=GENERATION))

    def __init__(self, folder: Path) -> None:
        self.processor = _read(hub.library().AutoProcessor, folder)
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"  # the answer continues the last token of every row
        self._bytes = Tokenizer.of_bytes()

    def __call__(self, images: list[Image.Image], prompts: BatchInput | None) -> dict[str, Any]:
        assert prompts is not None  # every task gives a prompt or a question
        distinct = [self._formatted(self._bytes.decode(tokens.tolist())) for tokens in prompts.distinct.values]
        texts = [distinct[place] for place in prompts.index]
        return dict(self.processor(text=texts, images=[[one] for one in images], padding=True, return_tensors="pt"))

    def _formatted(self, prompt: str) -> str:
        """The prompt in the chat format of the model."""
        if self.processor.chat_template:
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            return str(self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
        return f"{self._mark}{prompt}"

    @cached_property
    def _mark(self) -> str:
        """The token that stands for the image; "" if the processor adds it."""
        token = getattr(self.processor, "image_token", None)
        if token is None:
            return ""
        try:
            read = self.processor(text=["a"], images=[[Image.new("RGB", (32, 32))]], return_tensors="pt")["input_ids"]
        except ValueError:  # an image without a token in the text
            return f"{token}\n"
        return "" if (read == self.tokenizer.convert_tokens_to_ids(str(token))).any() else f"{token}\n"


class HuggingFaceRuntime:
    """A runtime that writes whole texts only; it has no decoder steps."""

    def __init__(self, model: Any, processing: ImageProcessing | ImageTextProcessing, folder: Path) -> None:
        self.model, self.processing, self.folder = model, processing, folder

    def decoder(self, name: str) -> Decoder:
        raise UserError(f"{self.folder} is a Hugging Face model, which writes whole texts only: caption, predict, evaluate")

    @property
    def outputs(self) -> Mapping[str, OutputModality]:
        return {}

    def vector(self, name: str, batch: Batch) -> Float[np.ndarray, "batch size"]:
        raise UserError(f"{self.folder} is a Hugging Face model, which writes text; it has neither labels nor embeddings")

    def codec(self, name: str) -> ImageCodec:
        raise UserError(f"{self.folder} is a Hugging Face model, which writes text; it does not generate images")

    def image_decoder(self, name: str) -> Stepper:
        raise UserError(f"{self.folder} is a Hugging Face model, which writes text; it does not generate images")

    @torch.inference_mode()
    def write(self, name: str, batch: Batch, config: GenerationConfig) -> list[Prediction]:
        """One text per row; confidence is the mean probability of its tokens, <eos> included."""
        image = batch.inputs.get("image")
        if image is None or (image.index < 0).any():
            raise UserError(f"{self.folder} describes images, and a row has none")
        images = _images(image.distinct)
        given = self.processing([images[place] for place in image.index], batch.inputs.get("prompt"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            result = self.model.generate(**given, **_settings(config), return_dict_in_generate=True, output_scores=True)
        tokens, probabilities = _chosen(result)
        return [self._prediction(identity, tokens[row], probabilities[row]) for row, identity in enumerate(batch.ids)]

    def _prediction(self, identity: str, tokens: Int[Tensor, " length"], probabilities: Float[Tensor, " length"]) -> Prediction:
        ends = [place for place, token in enumerate(tokens.tolist()) if token in self._ends]
        length = ends[0] + 1 if ends else len(tokens)
        text = self.processing.tokenizer.decode(tokens[:length], skip_special_tokens=True).strip()
        own = tuple(probabilities[:length].tolist())
        return Prediction(identity, text=text, confidence=float(np.mean(own)), token_probabilities=own)

    @cached_property
    def _ends(self) -> set[int]:
        """The tokens that end a text or pad it."""
        named, tokenizer = self.model.generation_config.eos_token_id, self.processing.tokenizer
        own = [tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]
        return {token for token in [*(named if isinstance(named, list) else [named]), *own] if token is not None}


def _read(auto: Any, folder: Path) -> Any:
    try:
        return auto.from_pretrained(folder, **hub.AS_DATA)
    except Exception as error:  # each file format raises its own errors
        message = " ".join(str(error).split())[:160]
        raise UserError(f"{folder} has no processor for images and text, or it cannot be read ({message})") from None


def _images(distinct: Padded) -> list[Image.Image]:
    """The images, without padding."""
    sizes = [(mask.any(1).sum(), mask.any(0).sum()) for mask in distinct.mask]
    pixels = [values[:, :rows, :columns] for values, (rows, columns) in zip(distinct.values, sizes, strict=True)]
    return [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in pixels]


def _settings(config: GenerationConfig) -> dict[str, Any]:
    """The generation settings under the names of transformers."""
    lengths = {"max_new_tokens": config.max_length, "min_new_tokens": config.min_length}
    if config.method == "sample":
        sampling = {"temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}
        return {**lengths, "do_sample": True, "num_beams": 1, **sampling}
    beams = config.beam if config.method == "beam" else 1
    return {**lengths, "do_sample": False, "num_beams": beams, "length_penalty": config.length_penalty}


def _chosen(result: Any) -> tuple[Int[Tensor, "rows length"], Float[Tensor, "rows length"]]:
    """The generated tokens, and the probability of each among the allowed tokens."""
    beams = getattr(result, "beam_indices", None)
    if beams is None:
        beams = torch.arange(len(result.sequences)).unsqueeze(1).expand(-1, len(result.scores))
    length = int((beams >= 0).sum(1).max())
    tokens = result.sequences[:, -length:]
    steps = [result.scores[step][beams[:, step].clamp(min=0)].log_softmax(-1) for step in range(length)]
    probabilities = [logs.gather(1, tokens[:, step, None]) for step, logs in enumerate(steps)]
    return tokens, torch.cat(probabilities, 1).exp()
