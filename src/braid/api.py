"""What a notebook user touches: ``braid.load().caption("dog.jpg")``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from braid.bundle import WEIGHTS, Bundle, find_bundle, read_bundle
from braid.collate import Collator, Watch, over_batches
from braid.config import from_dict
from braid.errors import UserError, install_command
from braid.evaluation import Answers, predict
from braid.files import file_named, user_path
from braid.files.reading import has_suffix
from braid.generation import GenerationConfig, Runtime, continue_text
from braid.generation.images import StepWatch
from braid.given import given_values, is_one, several, several_rows
from braid.index import Hit, Index, IndexConfig, Origin, check_origin, open_index
from braid.modalities.cells import check_text
from braid.records import Example, Prediction, Sample
from braid.runtime.opening import has_torch, open_runtime
from braid.search import (
    PHRASE,
    Indexed,
    IndexWatch,
    check_reads,
    choose_by_embedding,
    embed,
    extension,
    file_input,
    files_by_input,
    index_files,
    input_named,
    labels_of,
    origin,
    source_of,
    source_of_row,
    values_by_role,
    with_sounds,
)
from braid.shapes import Float
from braid.tasks import Task, task_of, task_reading

if TYPE_CHECKING:
    from braid.explain import Explanation
    from braid.explain.ranking import Progress as RankWatch
    from braid.explain.ranking import Ranking
    from braid.runtime.torch import TorchRuntime

HUGGING_FACE = "hf:"
TOGETHER = 16  # images that are generated at once

Given = Mapping[str, Any]  # one row: values by the input or the role that they are for


def load(model: str | Path = "small", runtime: str = "", device: str = "auto", precision: str = "float32") -> "LoadedModel":
    """Load a model that is ready for use.

    Args:
        model: the name of a built-in checkpoint, a bundle's folder, a run's folder (its best model), or ``hf:`` and a
            Hugging Face image-to-text model: its name on the hub or its folder.
        runtime: ``torch`` or ``onnx``. By default onnx if the folder has graphs, but torch for a GPU or bfloat16.
        device: where torch computes: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU if there is one.
        precision: ``float32``, or ``bfloat16`` for torch's encoders and whatever else is computed once a row.
    Raises:
        UserError: when there is no such model, or it cannot be read.
    """
    if str(model).startswith(HUGGING_FACE):
        from braid.runtime.huggingface import load_whole

        return LoadedModel(*load_whole(str(model).removeprefix(HUGGING_FACE), runtime, device, precision))
    bundle = read_bundle(find_bundle(model))
    return LoadedModel(bundle, open_runtime(bundle, runtime, device, precision))


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A bundle and the runtime that runs it.

    Every method takes any input of the model by name: ``model.classify("photo.jpg", tabular={"price": 12})``.
    """

    bundle: Bundle
    runtime: Runtime = field(repr=False)

    def caption(self, images: Any = None, beam: int | None = None, language: str = "", **inputs: Any) -> Any:
        """Describe one image, recording or clip (str), or a list of them (list of str).

        Args:
            images: path, bytes, PIL image, array (uint8 [h, w, 3]), (samples, rate) or several of them in any container.
            beam: beams of the search, 1 is greedy; ``language``: one that the model writes, such as ``zh``, "" its usual one.
        """
        texts = [one.text for one in self.captions(images, beam, language, **inputs)]
        return texts[0] if is_one(images) else texts

    def _given(self, file: Any, **values: Any) -> dict[str, Any]:
        """The values of a row by name; a file without a name is for the input that reads such files."""
        return given_values(**{file_input(self.bundle.interface.inputs, file): file, **values})

    def captions(self, images: Any = None, beam: int | None = None, language: str = "", **inputs: Any) -> list[Prediction]:
        """``caption`` with confidence, in order; the first unreadable image is an error."""
        rows = [self._given(image, **inputs) for image in ([images] if is_one(images) else several(images))]
        return list(self.answer_rows("captioning", rows, beam, strict=True, language=language).predictions)

    def answer(self, image: Any = None, question: str | Iterable[str] = "", **inputs: Any) -> Any:
        """Answer a question about an image or any other input (str), or several questions (list of str)."""
        rows = [self._given(image, question=one, **inputs) for one in several(question)]
        texts = [one.text for one in self.answer_rows("vqa", rows, strict=True).predictions]
        return texts[0] if is_one(question) else texts

    def classify(self, image: Any = None, text: str = "", labels: str | Iterable[str] = (), **inputs: Any) -> Prediction:
        """The label of an image, a text, any other input or several together; ``scores`` has the probability of each label.

        Args:
            labels: your own (a list, or a text with commas), compared with one input by embedding; else those of training.
        """
        return self.classify_rows([self._given(image, text=text, **inputs)], labels, strict=True).predictions[0]

    def classify_rows(
        self,
        rows: Sequence[Given],
        labels: str | Iterable[str] = (),
        batch_size: int = 16,
        strict: bool = False,
        watch: Watch | None = None,
    ) -> Answers:
        """``classify`` of many rows, each with its values by name: ``[{"image": "a.jpg", "text": "hello"}, ...]``."""
        if chosen := labels_of(labels):
            return self._nearest(several_rows(rows), chosen, batch_size, strict, watch)
        return self.answer_rows("classification", rows, None, batch_size, strict, watch)

    def _nearest(
        self, rows: Sequence[Given], labels: Sequence[str], batch_size: int, strict: bool, watch: Watch | None
    ) -> Answers:
        """The labels nearest to rows that have one input, all the same one."""
        if len(labels) < 2:
            raise UserError(f"there is only the label {labels[0]!r} to choose from; give two or more")
        if len(names := {name for row in rows for name in row}) != 1 or any(len(row) != 1 for row in rows):
            given = " and ".join(sorted(names)) or "none"
            raise UserError(f"labels of your own are compared with one input, and there is {given}; give one of them")
        task: Any = self.task("retrieval")
        phrases = embed(self.runtime, self.collator, [PHRASE.format(label) for label in labels], task.sides[1])
        values = [value for row in rows for value in row.values()]
        name = input_named(self.collator.inputs, names.pop())
        result = embed(self.runtime, self.collator, values, name, batch_size, strict, watch)
        chosen = choose_by_embedding(result.vectors, labels, phrases.vectors, task.scale) if result.samples else []
        named = tuple(replace(one, id=sample.id) for one, sample in zip(chosen, result.samples, strict=True))
        return Answers(named, result.samples, result.skipped)

    def embed(self, images: Any = (), texts: str | Iterable[str] = (), **inputs: Any) -> Float[np.ndarray, "rows width"]:
        """Unit vectors of images, then of texts, then of the values of any other input, in one space: of each, one or several."""
        given = values_by_role(self.bundle.interface.inputs, images, {"text": texts, **inputs})
        if wider := extension(self.bundle, given):
            return _built_in(wider).embed(**given)
        parts = [
            embed(self.runtime, self.collator, values, input_named(self.collator.inputs, role), strict=True).vectors
            for role, values in given.items()
            if values
        ]
        if not parts:
            raise UserError("there is nothing to embed; give images or texts")
        return np.concatenate(parts)

    def imagine(
        self, prompt: str, image: Any = None, count: int = 1, seed: int = 0, guidance: float | None = None
    ) -> Image.Image | list[Image.Image]:
        """Generate an image from a sentence, or edit ``image`` as the sentence says; a list, if ``count`` is above 1.

        The same seed gives the same images, also of more of them; ``guidance``: how closely they follow the prompt.
        """
        sampling: dict[str, Any] = {} if guidance is None else {"guidance": guidance}
        result = self.generate_images(prompt, image, count, seed, **sampling)
        images = [Image.fromarray(one.image.pixels) for one in result if one.image]
        return images[0] if count == 1 else images

    def generate_images(
        self,
        prompt: str,
        image: Any = None,
        count: int = 1,
        seed: int = 0,
        watch: StepWatch | None = None,
        **sampling: Any,
    ) -> list[Prediction]:
        """``imagine`` with all that the model gives: images with their tokens, and the sentence if it writes one.

        Args:
            watch: sees the steps of every sixteen images.
            sampling: settings of ``braid.generation.images.ImageSamplingConfig``, such as ``guidance`` and ``temperature``.
        Raises:
            UserError: for an empty prompt, one longer than the model reads, or an image for a model that reads none.
        """
        return self.generate_all([(prompt, image)], count, seed, watch, **sampling)[0]

    def generate_all(
        self,
        requests: Sequence[tuple[str, Any]],
        count: int = 1,
        seed: int = 0,
        watch: StepWatch | None = None,
        first: int = 0,
        **sampling: Any,
    ) -> list[list[Prediction]]:
        """``generate_images`` for several prompts, each with an image or None; each gets what it gets alone. ``first`` images of
        the seed are left out."""
        task = self.task("image_generation").with_sampling({"seed": seed, **sampling})
        samples: list[Sample] = []
        for prompt, image in requests:
            check_text(prompt, "the prompt")
            given = given_values(image=image)
            if unread := [name for name in given if name not in self.bundle.inputs]:
                message = f"this model generates images from text alone; leave the {unread[0]} out"
                raise UserError(f"{message}, or use a model that was trained to edit")
            fields = {"instruction": prompt, **given} if given else {"captions": (prompt,)}
            rows = [task.prepare(Example(str(row), fields, source="imagine")) for row in range(first, first + count)]
            task.check_inputs(rows[0], self.bundle.inputs)
            samples.extend(rows)
        result, _, _ = over_batches(
            self.collator, samples, lambda part: task.predict(self.runtime, part.batch, watch), TOGETHER, strict=True
        )
        return [result[row : row + count] for row in range(0, len(result), count)]

    def reconstruct(self, images: Any) -> list[tuple[Image.Image, Image.Image]]:
        """Images as this model's codec is given them, each with what is left of it after tokens and back."""
        name, modality = self._output("generates images")
        codec = self.runtime.codec(name)
        padded = modality.pad([modality.prepare(image, source_of(image)) for image in several(images)])
        before, after = modality.images(padded.values), modality.images(codec.pixels(codec.tokens(padded.values)))
        return [(Image.fromarray(one), Image.fromarray(other)) for one, other in zip(before, after, strict=True)]

    def _output(self, does: str) -> tuple[str, Any]:
        """The first output that ``does`` this.

        Raises:
            UserError: when the model has none.
        """
        for name, modality in self.bundle.outputs.items():
            if modality.does == does:
                return name, modality
        raise UserError(f"this model has no output that {does}; its outputs are {', '.join(self.bundle.outputs) or 'none'}")

    def answer_rows(
        self,
        task: str,
        rows: Sequence[Given],
        beam: int | None = None,
        batch_size: int = 16,
        strict: bool = False,
        watch: Watch | None = None,
        language: str = "",
    ) -> Answers:
        """Do one of the model's tasks on rows, each with its values by name; ids are the rows' numbers, from 0.

        Raises:
            UserError: for a name that it does not read, or a language; with ``strict``, for the first row that cannot be read.
        """
        chosen = self.task(task, beam, language)
        samples = [self._sample(chosen, row, number) for number, row in enumerate(several_rows(rows))]
        return predict(self.runtime, self.collator, chosen, samples, batch_size, strict, watch)

    def _sample(self, task: Task, row: Given, number: int = 0) -> Sample:
        """A row as the task prepares it; an input that the task does not name goes to the model as it is."""
        known = self.bundle.inputs
        row = with_sounds(self.bundle.interface.inputs, row)
        check_reads(known, row)
        fields = {task.role_of(name) if name in known else name: value for name, value in row.items()}
        sample = task.prepare(Example(str(number), fields, source=source_of_row(row, number)))
        others = {name: value for name, value in row.items() if name in known and name not in sample.inputs}
        return replace(sample, inputs={**sample.inputs, **others}) if others else sample

    def predict(
        self,
        task: str,
        examples: Sequence[Example],
        beam: int | None = None,
        batch_size: int = 16,
        strict: bool = False,
        watch: Watch | None = None,
        language: str = "",
    ) -> Answers:
        """Do one of the model's tasks on many examples; rows that cannot be read come back with the reason."""
        chosen = self.task(task, beam, language)
        samples = [chosen.prepare(example) for example in several(examples)]
        return predict(self.runtime, self.collator, chosen, samples, batch_size, strict, watch)

    def complete(self, text: str, config: GenerationConfig | None = None) -> Prediction:
        """Continue a text: the decoder alone, as a language model."""
        if not self.bundle.outputs:
            self.runtime.decoder("text")  # a whole Hugging Face model says what it can do instead
        name, modality = self._output("writes texts")
        settings = config or GenerationConfig(method="sample", temperature=0.8, top_p=0.9)
        languages = self.bundle.interface.tasks.get("captioning", {}).get("languages") or [""]
        text = check_text(text, "the text")
        return continue_text(self.runtime.decoder(name), modality.tokenizer, text, settings, modality.max_length, languages[0])

    def explain(
        self,
        image: Any = None,
        question: str = "",
        text: str = "",
        method: str = "",
        task: str = "",
        graded: bool = True,
        language: str = "",
        **inputs: Any,
    ) -> "Explanation":
        """Answer, and say which parts of the inputs (patches, words, columns) moved each word of the answer.

        By default the model does the first of its tasks that reads what you give: a question is answered, a text classified, an
        image captioned or else classified.

        Args:
            method: attention, rollout, gradients, grad_cam, integrated_gradients, occlusion or shapley; "" takes the one that
                points best on scenes.
            task: captioning, vqa, classification or regression, to choose another one.
            graded: also grade the explanation, which takes about as long again; ``language``: as for ``caption``.
        Raises:
            UserError: when there is nothing to explain, the method is unknown, or the model runs on ONNX only.
        """
        torch_runtime = self._torch_runtime
        from braid.explain.explaining import explain

        row = self._given(image, question=question, text=text, **inputs)
        chosen = self.task(task) if task else task_reading(self.bundle.interface, Example("0", row, source=source_of_row(row)))
        chosen = chosen.speaking(language) if language else chosen
        return explain(torch_runtime, self.collator, chosen, self._sample(chosen, row), method, graded)

    def rank_explanations(
        self, examples: Sequence[Example], task: str, methods: str | Iterable[str] = (), watch: "RankWatch | None" = None
    ) -> "Ranking":
        """Which method to trust: every method (or some) on many rows, graded, beside random scores.

        Raises:
            UserError: when nothing can be graded, or the model runs on ONNX only.
        """
        torch_runtime = self._torch_runtime
        from braid.explain.ranking import rank_methods

        return rank_methods(torch_runtime, self.collator, self.task(task), examples, several(methods), watch)

    @property
    def explains(self) -> bool:
        """Whether this model's answers can be explained: torch can run it."""
        return has_torch(self.bundle)

    def apart(self) -> "LoadedModel":
        """A copy on torch, which can be explained while this one answers others."""
        return replace(self, runtime=deepcopy(self._torch_runtime))

    @cached_property
    def _torch_runtime(self) -> "TorchRuntime":
        """The runtime that explanations differentiate; a model with graphs loads it when it is first needed.

        Raises:
            UserError: when there is none.
        """
        from braid.runtime.onnx import OnnxRuntime

        graphs = isinstance(self.runtime, OnnxRuntime)
        if graphs and not has_torch(self.bundle):
            needed = f"it needs torch ({install_command('train')}) and {WEIGHTS} in the model's folder"
            raise UserError(f"an explanation looks inside the model, and this one runs on ONNX; {needed}")
        from braid.runtime.torch import TorchRuntime

        runtime = open_runtime(self.bundle, "torch") if graphs else self.runtime
        if not isinstance(runtime, TorchRuntime):
            raise UserError("a whole Hugging Face model cannot be looked into; train a model that has it as a part")
        return runtime

    def task(self, kind: str, beam: int | None = None, language: str = "") -> Task:
        """One of the model's tasks as it was trained for; ``beam`` 1 is greedy, "" the usual ``language``."""
        task = task_of(self.bundle.interface, kind)
        task = task.speaking(language) if language else task
        return task if beam is None else task.searching(beam)

    def files(
        self, paths: str | Path | Iterable[str | Path], on_note: Callable[[str], None] = lambda text: None
    ) -> dict[str, str]:
        """The files that paths, patterns and folders mean, each with the input that reads it; ``on_note`` is told of the rest.

        Raises:
            UserError: when no input reads files, or a folder or a pattern has none.
        """
        return files_by_input(self.bundle.interface.inputs, several(paths), on_note)

    def is_file(self, name: str | Path) -> bool:
        """Whether a name has the suffix of a file that one of the inputs reads."""
        return any(has_suffix(name, config.suffixes) for config in self.bundle.interface.inputs.values())

    def index(
        self,
        files: str | Path | Iterable[str | Path],
        output: str | Path,
        kind: str | IndexConfig = "exact",
        batch_size: int = 32,
        strict: bool = False,
        watch: IndexWatch | None = None,
        on_note: Callable[[str], None] = lambda text: None,
        prune: bool = False,
    ) -> Indexed:
        """Embed files and keep the vectors at ``output`` for ``search``; an index that is there grows, and what
        changed is embedded anew.

        Args:
            files: a file, a pattern or a folder, or several of them.
            kind: ``exact``, ``hnsw`` or ``lancedb``, or the settings of one; an index that is there keeps its own.
            prune: remove the rows of files that are not there any more.
        Raises:
            UserError: when another model made the index there, or no file can be read; with ``strict``, for the first one.
        """
        config: IndexConfig = from_dict(IndexConfig, {"kind": kind}, "kind") if isinstance(kind, str) else kind
        named = self.files(files, on_note)
        place = user_path(output)
        return index_files(self.runtime, self.collator, named, place, config, self.origin, batch_size, strict, watch, prune)

    def search(self, index: Index | str | Path, text: str = "", image: Any = None, top: int = 10, **inputs: Any) -> list[Hit]:
        """The ``top`` rows of an index, opened or at a path, that are nearest to a text, an image, another input, or their mean.

        Raises:
            UserError: when there is nothing to search for, or another model made the index.
        """
        query = {name: [value] for name, value in self._given(image, text=text, **inputs).items()}
        if not query:
            raise UserError("there is nothing to look for; give a text, an image or both")
        opened = open_index(user_path(index), self.origin) if isinstance(index, str | Path) else index
        check_origin(opened.folder, opened.origin, self.origin)
        (hits,) = opened.search(self.embed(**query).mean(0, keepdims=True), top)
        if opened is not index:
            opened.close()
        return [replace(hit, id=file_named(hit.id)) for hit in hits]

    @cached_property
    def origin(self) -> Origin:
        """The maker of this model's vectors."""
        return origin(self.bundle)

    @property
    def collator(self) -> Collator:
        return Collator(self.bundle.inputs, self.bundle.outputs)


_built_in = cache(load)
