"""The protocol of a task: everything that the rest of Braid knows of one. Members have the defaults of a plain task."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from braid.config import kinds
from braid.errors import UserError
from braid.generation import GenerationConfig, Runtime
from braid.generation.images import StepWatch
from braid.metrics import Decisions, Outcomes
from braid.modalities import ROLES, InputModalityConfig, modality_of
from braid.records import Batch, Example, Prediction, Sample
from braid.shapes import Float


class TaskProtocol(Protocol):
    """A small frozen object that prepares samples, calls a runtime, and scores predictions.

    ``decoder`` is the main output of the task, and ``decoders`` are all that it trains; ``part`` says whether these are decoders
    or codecs.

    ``main_metric`` chooses the best epoch. ``per_sample_metric`` is a mean over rows; ``items`` gives it per row, so that two
    models can be compared row by row. ``better`` applies to both; ``unit`` is for tables.

    ``objectives``: kinds of objective that can train the task, the default first. ``target_fields``: roles that may be missing at
    prediction time. ``sides``: inputs that the model reads separately; empty if it reads all inputs of a row together.
    ``confident``: answers are right or wrong, and have a confidence.
    """

    kind: str
    generation: GenerationConfig | None = None
    sides: tuple[str, ...] = ()

    @property
    def decoder(self) -> str: ...

    part: ClassVar[Literal["decoders", "codecs"]] = "decoders"
    main_metric: ClassVar[str]
    per_sample_metric: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    unit: ClassVar[str] = "x100"
    objectives: ClassVar[tuple[str, ...]] = ("likelihood",)
    target_fields: ClassVar[tuple[str, ...]] = ()
    setting_fields: ClassVar[tuple[str, ...]] = ()  # roles that say how a row is answered
    labels_rows: ClassVar[bool] = False  # targets are labels, which an objective may weigh by how rare they are
    parity_metric: ClassVar[str] = ""  # also compared between float32 and 8 bit weights
    confident: ClassVar[bool] = False

    @property
    def decoders(self) -> tuple[str, ...]:
        return (self.decoder,)

    @property
    def method(self) -> str:
        """The search method, for the title of a table."""
        if self.generation is None:
            return "no search"
        return self.generation.method + (f" {self.generation.beam}" if self.generation.method == "beam" else "")

    def searching(self, beam: int) -> Any:
        """The task with a beam search of ``beam`` beams; 1 is greedy.

        Raises:
            UserError: for a task that writes no text.
        """
        if self.generation is None:
            raise UserError(f"{self.kind} writes no text, so there is nothing to search with beams; leave the beam out")
        changed: Any = replace(self.generation, method="greedy" if beam == 1 else "beam", beam=beam)
        return replace(self, generation=changed)  # type: ignore[type-var]

    def with_sampling(self, changes: Mapping[str, Any]) -> Any:
        """The task with other settings of image sampling.

        Raises:
            UserError: for a task that generates no images.
        """
        raise UserError(f"{self.kind} generates no images; choose image_generation")

    def check_inputs(self, sample: Sample, inputs: Mapping[str, Any]) -> None:
        """Hold a sample to what a model's ``inputs``, by name, can read whole.

        Raises:
            UserError: when it would read a part only, and that matters.
        """
        return None

    def variety(self, texts: Sequence[str], training: Iterable[Example], tokenizer: str = "auto") -> Mapping[str, float]:
        """Metrics of generated texts that need no references; ``training``: the rows that the model learned from."""
        return {}

    def role_of(self, name: str) -> str:
        """The role whose values the task hands to the input ``name``: the question, for the prompt of a model that answers."""
        value, roles = object(), dict.fromkeys([name, *ROLES, *kinds(InputModalityConfig)])
        return next((role for role in roles if self.inputs_of({role: value}).get(name) is value), name)

    def expand(self, examples: Iterable[Example]) -> Iterable[Example]:
        """The rows of the task: by default those of the data set."""
        return examples

    def fitted_to(self, examples: Iterable[Example]) -> Any:
        """The task with what it learns from the training rows before they are prepared.

        Raises:
            UserError: naming the row that it cannot learn from.
        """
        return self

    def speaking(self, language: str) -> Any:
        """The task in one of its languages.

        Raises:
            UserError: for a task that writes in none.
        """
        raise UserError(f"{self.kind} writes in no language by name; leave the language out")

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of the model, by name, from the fields of a row."""
        return {}

    def prepare(self, example: Example) -> Sample:
        """Turn a row into a sample: inputs, targets and references.

        Raises:
            UserError: naming the row, when it lacks what the task needs.
        """
        ...

    def reads(self, example: Example) -> bool:
        """Whether a row has what the task needs."""
        try:
            self.prepare(example)
        except UserError:
            return False
        return True

    def has_several_labels(self, examples: Iterable[Example]) -> bool:
        """Whether a row may have several labels: the data set gives them in lists."""
        return False

    def predict(self, runtime: Runtime, batch: Batch, watch: StepWatch | None = None) -> list[Prediction]:
        """One prediction per row; ``watch`` follows the sampling steps of images."""
        ...

    def score(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Mapping[str, float]:
        """Metrics by name, and ``num_samples``."""
        ...

    def remarks(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> list[str]:
        """What the metrics of these rows cannot say, such as accuracy on rows of one label."""
        return []

    def compared(self, samples: Sequence[Sample], tokenizer: str = "auto") -> str:
        """How answers are compared with references, where the language decides; "" where it does not."""
        return ""

    def items(self, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> Float[np.ndarray, " rows"]:
        """``per_sample_metric`` of each row."""
        ...

    def report(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> dict[str, Any]:
        """Additional results for the page of an evaluation; see ``braid.reports.Evaluated``."""
        return {}

    def decisions(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Decisions:
        """The confidence of each answer, and whether it is right; for a ``confident`` task."""
        raise UserError(f"{self.kind} gives no confidence")

    def outcomes(self, predictions: Sequence[Prediction], samples: Sequence[Sample], tokenizer: str = "auto") -> Outcomes:
        """The data for calibrating confidence, from predictions of ``unfitted``; for a ``confident`` task."""
        raise UserError(f"{self.kind} gives no confidence")

    @property
    def unfitted(self) -> Any:
        """The task without calibration."""
        return self

    def fitted(self, fit: Any) -> Any:
        """The task with a calibration that was fitted on ``outcomes``."""
        raise UserError(f"{self.kind} gives no confidence")


def inputs_of(fields: Mapping[str, Any], *texts: str) -> dict[str, Any]:
    """The inputs of a row, by name: roles that are inputs themselves, and the last present role of ``texts`` as the prompt.

    Captions, answers and targets are not inputs themselves.
    """
    own = {role: modality_of(role) for role in fields if role not in ROLES}
    inputs = {role: fields[role] for role, modality in own.items() if modality and modality.input_name == role}
    for role in texts:
        if role in fields:
            inputs["prompt"] = fields[role]
    return inputs


def same_truth(samples: Sequence[Sample], what: str, follows: str) -> list[str]:
    """A remark for rows whose references are all the same: ``what`` they are, and what ``follows`` from it."""
    truths = {sample.references for sample in samples}
    if len(samples) < 2 or len(truths) > 1:
        return []
    (truth,) = truths
    return [f"all {len(samples)} rows have the same {what}, {', '.join(map(repr, truth[:3])) or 'none'}; {follows}"]


def need_inputs(inputs: Collection[str], example: Example, task: str, *names: str) -> None:
    """Check that a row has at least one input.

    Raises:
        UserError: when it has none, with the columns that ``names`` could be mapped to.
    """
    if not inputs:
        mapping = ",".join(f"{name}=NAME" for name in names)
        wanted = " or ".join(f"an {name}" if name[0] in "aeiou" else f"a {name}" for name in names)
        raise UserError(f"{example.source}: {task} needs {wanted}; map its column with --columns {mapping}")
