"""What a notebook user touches: ``braid.load().caption("dog.jpg")``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from braid.bundle import WEIGHTS, Bundle, Interface, find_bundle, read_bundle
from braid.collate import Collator, Watch, collated
from braid.config import from_dict, to_dict
from braid.errors import UserError
from braid.evaluation import Answers, predict
from braid.generation import GenerationConfig, Runtime, generate
from braid.generation.images import ImageSamplingConfig, StepWatch
from braid.index import Hit, Index, IndexConfig, Origin, check_origin, open_index
from braid.metrics import frechet_distance, kernel_distance, precision_recall
from braid.modalities import ImageModality, LabelsModalityConfig, TextModality, image_files
from braid.records import Batch, Example, Prediction, Sample
from braid.runtime.opening import has_torch, open_runtime
from braid.search import PHRASE, Indexed, IndexWatch, choose_by_embedding, embed, index_images, origin
from braid.shapes import Float
from braid.tasks import ImageGeneration, Retrieval, Task, task_of

if TYPE_CHECKING:
    from braid.explain import Explanation
    from braid.explain.ranking import Progress as RankWatch
    from braid.explain.ranking import Ranking
    from braid.runtime.torch import TorchRuntime

HUGGING_FACE = "hf:"
FEW = 5  # labels that a sentence names
TOGETHER = 16  # pictures that are drawn at once


def load(model: str | Path = "small", runtime: str = "", device: str = "auto", precision: str = "float32") -> "LoadedModel":
    """A model ready for use.

    Args:
        model: the name of a built-in checkpoint, a bundle's folder, a run's folder (its best model), or ``hf:`` and a
            Hugging Face image-to-text model: its name on the hub or its folder.
        runtime: ``torch``, ``onnx``, or "" for torch where a GPU or bfloat16 is named, onnx where the folder has graphs, else
            torch.
        device: where torch computes: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` is a GPU where there is one.
        precision: ``float32``, or ``bfloat16`` for torch's encoders and whatever else is computed once a row.
    Raises:
        UserError: when there is no such model, or it cannot be read.
    """
    if str(model).startswith(HUGGING_FACE):
        if runtime == "onnx":
            raise UserError(f"{model} runs on torch only; leave the runtime out")
        if device not in ("auto", "cpu"):
            raise UserError(f"{model} runs on the processor only, not on {device!r}; leave the device out")
        if precision != "float32":
            raise UserError(f"{model} runs in float32 only; leave the precision out")
        from braid.runtime.huggingface import load_whole

        return LoadedModel(*load_whole(str(model).removeprefix(HUGGING_FACE)))
    bundle = read_bundle(find_bundle(model))
    return LoadedModel(bundle, open_runtime(bundle, runtime, device, precision))


@dataclass(frozen=True)
class LoadedModel:
    """A bundle and the runtime that runs it."""

    bundle: Bundle
    runtime: Runtime

    def caption(self, images: Any, beam: int | None = None) -> Any:
        """Describe one picture (str), or a list of them (list of str).

        Args:
            images: path, bytes, PIL image or array (uint8 [h, w, 3]), or a list of such.
        """
        single = not isinstance(images, list | tuple)
        texts = [prediction.text for prediction in self.captions([images] if single else images, beam)]
        return texts[0] if single else texts

    def captions(self, images: Sequence[Any], beam: int | None = None) -> list[Prediction]:
        """Captions with confidence, one a picture, in order; the first unreadable picture is an error."""
        rows = [Example(str(row), {"image": image}, source=_name(image, row)) for row, image in enumerate(images)]
        return list(self.predict("captioning", rows, beam, strict=True).predictions)

    def answer(self, image: Any, question: str | Sequence[str]) -> Any:
        """Answer a question about a picture (str), or several (list of str)."""
        single = isinstance(question, str)
        questions = [question] if isinstance(question, str) else question
        examples = [Example(str(row), {"image": image, "question": q}, source=_name(image, 0)) for row, q in enumerate(questions)]
        texts = [prediction.text for prediction in self.predict("vqa", examples, strict=True).predictions]
        return texts[0] if single else texts

    def classify(self, image: Any = None, text: str = "", labels: Sequence[str] = ()) -> Prediction:
        """The label of a picture, a text or both, with the probability of each label in ``scores``.

        Args:
            labels: any labels, compared with the picture by embedding (zero-shot); none: those that the model was trained on.
        """
        return self.classify_all([] if image is None else [image], text, labels, strict=True).predictions[0]

    def classify_all(
        self,
        images: Sequence[Any],
        text: str = "",
        labels: Sequence[str] = (),
        batch_size: int = 16,
        strict: bool = False,
        watch: Watch | None = None,
    ) -> Answers:
        """``classify`` of many pictures, each with the same text; ids are the pictures' names."""
        if labels:
            return self._nearest(images, text, labels, batch_size, strict, watch)
        words = {"text": text} if text else {}
        rows = [{"image": image, **words} for image in images] or [words]
        names = [_name(image, row) for row, image in enumerate(images)] or [text]
        examples = [Example(name, fields, source=name) for name, fields in zip(names, rows, strict=True)]
        return self.predict("classification", examples, None, batch_size, strict, watch)

    def _nearest(
        self, images: Sequence[Any], text: str, labels: Sequence[str], batch_size: int, strict: bool, watch: Watch | None
    ) -> Answers:
        if len(labels) < 2:
            raise UserError(f"there is only the label {labels[0]!r} to choose from; give two or more")
        phrases = embed(self.runtime, self.collator, [PHRASE.format(label) for label in labels], "prompt")
        name, values = ("image", images) if images else ("prompt", [text])
        result = embed(self.runtime, self.collator, values, name, batch_size, strict, watch)
        chosen = choose_by_embedding(result.vectors, labels, phrases.vectors, self._scale)
        named = [replace(one, id=sample.source or text) for one, sample in zip(chosen, result.samples, strict=True)]
        return Answers(tuple(named), result.samples, result.skipped)

    @property
    def _scale(self) -> float:
        task = self.task("retrieval")
        assert isinstance(task, Retrieval)
        return task.scale

    def embed(self, images: Sequence[Any] = (), texts: Sequence[str] = ()) -> Float[np.ndarray, "rows width"]:
        """Unit vectors of pictures, then of texts, in one space."""
        parts = [
            embed(self.runtime, self.collator, values, name, strict=True).vectors
            for name, values in (("image", images), ("prompt", texts))
            if len(values)
        ]
        if not parts:
            raise UserError("there is nothing to embed; give images or texts")
        return np.concatenate(parts)

    def imagine(
        self, prompt: str, image: Any = None, count: int = 1, seed: int = 0, guidance: float | None = None
    ) -> Image.Image | list[Image.Image]:
        """Draw a picture of what a sentence says, or ``image`` with what it says changed; a list, if ``count`` is above 1.

        The same seed gives the same pictures, of which the first ``n`` do not depend on how many there are. ``guidance``: how
        closely they follow the prompt; None is the model's own.
        """
        result = self.drawings(prompt, image, count, seed, guidance)
        images = [Image.fromarray(one.image.pixels) for one in result if one.image]
        return images[0] if count == 1 else images

    def drawings(
        self,
        prompt: str,
        image: Any = None,
        count: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        changes: Mapping[str, Any] | None = None,
        watch: StepWatch | None = None,
    ) -> list[Prediction]:
        """``imagine`` with all that the model gives: pictures with their tokens, and the sentence where it writes one.

        Args:
            changes: other settings of ``braid.generation.images.ImageSamplingConfig``.
            watch: sees the steps of every sixteen pictures.
        Raises:
            UserError: for an empty prompt, one longer than the model reads, or a picture to a model that reads none.
        """
        return self.drawings_of([(prompt, image)], count, seed, guidance, changes, watch)[0]

    def drawings_of(
        self,
        asked: Sequence[tuple[str, Any]],
        count: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        changes: Mapping[str, Any] | None = None,
        watch: StepWatch | None = None,
    ) -> list[list[Prediction]]:
        """``drawings`` of several prompts, each with a picture or None; each gets what it gets alone."""
        task = self.task("image_generation")
        assert isinstance(task, ImageGeneration)
        given = {"seed": seed, **(changes or {})} | ({} if guidance is None else {"guidance": guidance})
        task = replace(task, sampling=from_dict(ImageSamplingConfig, {**to_dict(task.sampling), **given}, "sampling"))
        samples: list[Sample] = []
        for prompt, image in asked:
            if image is not None and "image" not in self.bundle.inputs:
                raise UserError("this model draws from a text alone; leave the image out, or use one that was trained to edit")
            fields = {"captions": (prompt,)} if image is None else {"instruction": prompt, "image": image}
            self._check_length(prompt)
            samples.extend(task.prepare(Example(str(row), fields, source="imagine")) for row in range(count))
        result: list[Prediction] = []
        for part in collated(self.collator, samples, TOGETHER, strict=True):
            result.extend(task.predict(self.runtime, part.batch, watch))
        return [result[first : first + count] for first in range(0, len(result), count)]

    def reconstruct(self, images: Sequence[Any]) -> list[Image.Image]:
        """Pictures after this model's codec has turned them into tokens and back."""
        codec, modality = self.runtime.codec("image"), self.bundle.outputs["image"]
        assert isinstance(modality, ImageModality)
        padded = modality.pad([modality.prepare(image, _name(image, row)) for row, image in enumerate(images)])
        return [Image.fromarray(one) for one in modality.images(codec.pixels(codec.tokens(padded.values)))]

    def fidelity(self, answers: Answers, watch: Watch | None = None) -> dict[str, float]:
        """How like the pictures that another model drew are to those it was to draw, by this model's embeddings.

        ``fid`` and ``kid`` are distances, x1000 (embeddings have length 1); ``precision`` and ``recall`` shares, x100; ``match``
        is the mean cosine of each picture and its prompt, x100, where there are prompts.
        """
        generated = [one.image.pixels for one in answers.predictions if one.image]
        if not generated:
            raise UserError("no picture was drawn, so there is nothing to compare; leave the extractor out")
        real = [sample.targets["image"] for sample in answers.samples]
        made, truth = (
            embed(self.runtime, self.collator, images, "image", strict=True, watch=watch).vectors for images in (generated, real)
        )
        precision, recall = precision_recall(made, truth)
        metrics = {
            "fid": 1000 * frechet_distance(made, truth),
            "kid": 1000 * kernel_distance(made, truth),
            "precision": 100 * precision,
            "recall": 100 * recall,
        }
        prompts = [sample.inputs["prompt"] for sample in answers.samples if "prompt" in sample.inputs]
        if len(prompts) == len(generated) and "prompt" in self.bundle.inputs:
            metrics["match"] = 100 * float((made * self.embed(texts=prompts)).sum(1).mean())
        return metrics

    def _check_length(self, prompt: str) -> None:
        modality = self.bundle.inputs["prompt"]
        assert isinstance(modality, TextModality)
        length, most = len(modality.tokenizer.encode(prompt)), modality.max_length - 2
        if length > most:
            raise UserError(f"the prompt has {length} tokens; this model reads at most {most}, make it shorter")

    def predict(
        self,
        task: str,
        examples: Sequence[Example],
        beam: int | None = None,
        batch_size: int = 16,
        strict: bool = False,
        watch: Watch | None = None,
    ) -> Answers:
        """Do one of the model's tasks on many examples; rows that cannot be read come back with the reason."""
        chosen = self.task(task, beam)
        samples = [chosen.prepare(example) for example in examples]
        return predict(self.runtime, self.collator, chosen, samples, batch_size, strict, watch)

    def complete(self, text: str, config: GenerationConfig | None = None) -> Prediction:
        """Go on with a text: the decoder alone, as a language model."""
        decoder, tokenizer = self.runtime.decoder("text"), self.bundle.tokenizer
        assert tokenizer is not None  # a model that writes has one
        settings = config or GenerationConfig(method="sample", temperature=0.8, top_p=0.9)
        tokens = tokenizer.encode(text)
        limit = self.bundle.interface.outputs["text"].max_length  # type: ignore[union-attr]
        if len(tokens) >= limit - 2:
            raise UserError(f"the text has {len(tokens)} tokens; this model reads and writes at most {limit - 2} in all")
        settings = replace(settings, max_length=min(settings.max_length, limit - 1 - len(tokens)))
        (result,) = generate(decoder, Batch(("0",), {}), settings, [tokens])
        return Prediction("0", tokenizer.decode([*tokens, *result.tokens]), confidence=result.confidence)

    def explain(
        self, image: Any = None, question: str = "", text: str = "", method: str = "", task: str = "", graded: bool = True
    ) -> "Explanation":
        """Answer, and say which patches and words moved each word of the answer.

        A question is answered and a text classified, each with a picture or without; of a picture alone a caption is explained,
        or its label where the model does not caption.

        Args:
            method: attention, rollout, gradients, grad_cam, integrated_gradients, occlusion or shapley; "" is the one that
                points best on scenes.
            task: captioning, vqa, classification or regression, where it is to be another one.
            graded: also grade the explanation, which takes about as long again.
        Raises:
            UserError: when there is nothing to explain, the method is unknown, or the model runs on ONNX only.
        """
        torch_runtime = self._looked_into
        from braid.explain.explaining import explain

        kind = task or self._explained(question, text)
        fields = {"image": image, "question": question, "text": text}
        given = {role: value for role, value in fields.items() if value is not None and (role == "image" or value)}
        example = Example("0", given, source="" if image is None else _name(image, 0))
        chosen = self.task(kind)
        return explain(torch_runtime, self.collator, chosen, chosen.prepare(example), method, graded)

    def rank_explanations(
        self, examples: Sequence[Example], task: str, methods: Sequence[str] = (), watch: "RankWatch | None" = None
    ) -> "Ranking":
        """Which method to believe: every method (or some) on many rows, graded, beside scores by chance.

        Raises:
            UserError: when nothing can be graded, or the model runs on ONNX only.
        """
        torch_runtime = self._looked_into
        from braid.explain.ranking import rank_methods

        return rank_methods(torch_runtime, self.collator, self.task(task), examples, methods, watch)

    @property
    def explains(self) -> bool:
        """Whether this model's answers can be explained: it has weights that torch runs."""
        return has_torch(self.bundle)

    def apart(self) -> "LoadedModel":
        """A copy on torch, to be looked into while this one answers others."""
        return replace(self, runtime=deepcopy(self._looked_into))

    @cached_property
    def _looked_into(self) -> "TorchRuntime":
        """The runtime that shows what goes on inside; beside graphs it is loaded when it is first asked for.

        Raises:
            UserError: when there is none.
        """
        from braid.runtime.onnx import OnnxRuntime

        graphs = isinstance(self.runtime, OnnxRuntime)
        if graphs and not has_torch(self.bundle):
            needed = f'it needs torch (pip install "braidlm[train]") and {WEIGHTS} in the model\'s folder'
            raise UserError(f"an explanation looks inside the model, and this one runs on ONNX; {needed}")
        from braid.runtime.torch import TorchRuntime

        runtime = open_runtime(self.bundle, "torch") if graphs else self.runtime
        if not isinstance(runtime, TorchRuntime):
            raise UserError("a whole Hugging Face model cannot be looked into; train a model that has it as a part")
        return runtime

    def _explained(self, question: str, text: str) -> str:
        """The task whose answer is meant."""
        labels = ("classification", "regression")
        wanted = ("vqa",) if question else labels if text else ("captioning", *labels)
        return next((kind for kind in wanted if kind in self.bundle.interface.tasks), wanted[0])

    def task(self, kind: str, beam: int | None = None) -> Task:
        """One of the model's tasks as it was trained for; ``beam`` 1 is greedy."""
        task = task_of(self.bundle.interface, kind)
        if beam is None:
            return task
        return task.searching(beam)

    def index(
        self,
        images: str | Path | Sequence[str | Path],
        output: str | Path,
        kind: str | IndexConfig = "exact",
        batch_size: int = 32,
        strict: bool = False,
        watch: IndexWatch | None = None,
    ) -> Indexed:
        """Embed pictures and keep them at ``output`` for ``search``; an index that is there grows.

        Args:
            pictures: a file, a pattern or a folder, or several of them.
            kind: ``exact``, ``hnsw`` or ``lancedb``, or the settings of one; an index that is there keeps its own.
        Raises:
            UserError: when the index there is another model's, or no picture can be read; with ``strict``, for the first.
        """
        config: IndexConfig = from_dict(IndexConfig, {"kind": kind}, "kind") if isinstance(kind, str) else kind
        given = [images] if isinstance(images, str | Path) else images
        files = image_files(given)
        return index_images(self.runtime, self.collator, files, Path(output), config, self.origin, batch_size, strict, watch)

    def search(self, index: Index | str | Path, text: str = "", image: Any = None, top: int = 10) -> list[Hit]:
        """The ``top`` rows of an index, opened or at a path, that are nearest to a text, a picture, or the mean of both.

        Raises:
            UserError: when there is nothing to look for, or another model made the index.
        """
        if not text and image is None:
            raise UserError("there is nothing to look for; give a text, an image or both")
        opened = open_index(Path(index), self.origin) if isinstance(index, str | Path) else index
        check_origin(opened.folder, opened.origin, self.origin)
        query = self.embed([image] if image is not None else [], [text] if text else []).mean(0, keepdims=True)
        (hits,) = opened.search(query, top)
        if opened is not index:
            opened.close()
        return hits

    @cached_property
    def origin(self) -> Origin:
        """Who makes this model's vectors."""
        return origin(self.bundle)

    def unseen(self, task: Task, samples: Sequence[Sample]) -> list[str]:
        """What training never showed the model, in words: inputs that rows have together, and labels."""
        inputs = [] if task.sides else _unseen_inputs(self.bundle.interface, samples)
        modality = self.bundle.interface.outputs.get(task.decoder)
        return inputs + (_unseen_labels(modality.labels, task, samples) if isinstance(modality, LabelsModalityConfig) else [])

    @property
    def collator(self) -> Collator:
        return Collator(self.bundle.inputs, self.bundle.outputs)


def _unseen_inputs(interface: Interface, samples: Sequence[Sample]) -> list[str]:
    """A model that does not say what it was trained on is taken to know everything."""
    rows = Counter(tuple(name for name in interface.inputs if name in sample.inputs) for sample in samples)
    known = " or ".join(map(_together, interface.trained_on))
    return [
        f"{count} of {len(samples)} rows have {_together(given)}, and training showed {known}; their answers may be poor"
        for given, count in rows.items()
        if interface.trained_on and given not in interface.trained_on
    ]


def _together(inputs: Sequence[str]) -> str:
    return " and ".join(f"the {name}" for name in inputs) + (" alone" if len(inputs) == 1 else "") if inputs else "no input"


def _unseen_labels(known: Sequence[str], task: Task, samples: Sequence[Sample]) -> list[str]:
    new = [result for sample in samples if (result := set(sample.targets.get(task.decoder, ())) - set(known))]
    named = sorted(set().union(*new))
    shown = ", ".join(named[:FEW]) + (", ..." if len(named) > FEW else "")
    message = f"rows have a label that training never showed ({shown}), which this model cannot give"
    return [f"{len(new)} of {len(samples)} {message}"] if new else []


def _name(image: Any, row: int) -> str:
    return str(image) if isinstance(image, str | Path) else f"image {row + 1}"
