"""What a model is asked to do: small frozen objects that prepare samples and score predictions, one file a task.

``best`` names the metric that chooses among epochs; ``per_sample_metric`` one that is a mean over rows, which ``items``
gives one by one, so that two models can be paired. ``better`` holds for both. A row ``needs`` some roles; those that are ``asked`` it may
lack when it is only to be answered. Where a run trains several tasks, ``MEAN`` chooses: the mean of each one's ``best``, in which
a figure that is better when lower counts negative.

The ``Deciding`` tasks say how sure they are of what can be right or wrong: ``decisions`` are that, ``outcomes`` what a confidence
is fitted on, ``fitted`` and ``unfitted`` the task with such a fit and without.
"""

from collections.abc import Iterable, Mapping

from braid.bundle import Interface
from braid.config import did_you_mean, from_dict, kinds
from braid.errors import UserError
from braid.modalities import OutputModalityConfig, TextModalityConfig
from braid.records import Example
from braid.tasks.captioning import Captioning
from braid.tasks.classification import Classification
from braid.tasks.image_generation import ImageGeneration
from braid.tasks.language_modelling import LanguageModelling
from braid.tasks.reconstruction import Reconstruction
from braid.tasks.regression import Regression
from braid.tasks.retrieval import Retrieval
from braid.tasks.vqa import VisualQuestionAnswering

Task = (
    Captioning
    | Classification
    | ImageGeneration
    | LanguageModelling
    | Reconstruction
    | Regression
    | Retrieval
    | VisualQuestionAnswering
)
Deciding = Captioning | Classification | VisualQuestionAnswering

MEAN = "mean"

__all__ = [
    "MEAN",
    "Captioning",
    "Classification",
    "Deciding",
    "ImageGeneration",
    "LanguageModelling",
    "Reconstruction",
    "Regression",
    "Retrieval",
    "Task",
    "VisualQuestionAnswering",
    "deciding",
    "decoders_of",
    "rows_of",
    "task_named",
    "task_of",
    "too_long",
]


def rows_of(task: Task, examples: Iterable[Example]) -> Iterable[Example]:
    """The rows that a task makes of a data set's: retrieval and image generation one a caption, any other each as it is."""
    return task.spread(examples) if isinstance(task, ImageGeneration | Retrieval) else examples


def decoders_of(task: Task) -> tuple[str, ...]:
    """What a task trains, what it is named after first."""
    return task.decoders if isinstance(task, ImageGeneration) else (task.decoder,)


def deciding(task: Task, wanted: str) -> Deciding:
    """The task, if it is one that ``wanted`` can be had of.

    Raises:
        UserError: when its answers are never right or wrong, so that it cannot be sure of them.
    """
    if not isinstance(task, Deciding):
        raise UserError(f"{task.kind} gives no confidence; {wanted} is for captioning, classification and vqa")
    return task


def task_named(kind: str) -> Task:
    """A task with its default settings."""
    if kind not in kinds(Task):
        raise UserError(f"there is no task {kind!r}; {did_you_mean(kind, list(kinds(Task)))}")
    return from_dict(Task, {"kind": kind}, "task")


def task_of(interface: Interface, kind: str) -> Task:
    """A task as this model was trained for it (prompt, generation).

    Raises:
        UserError: when the model was not trained for it, naming what it can do.
    """
    if kind not in kinds(Task):
        raise UserError(f"there is no task {kind!r}; {did_you_mean(kind, list(kinds(Task)))}")
    if kind not in interface.tasks:
        raise UserError(f"this model was not trained for {kind}; it does {', '.join(sorted(interface.tasks)) or 'nothing yet'}")
    task: Task = from_dict(Task, interface.tasks[kind], f"interface.json: tasks.{kind}")
    if message := too_long(task, interface.outputs):
        raise UserError(f"interface.json: tasks.{kind}.generation.max_length is {message}")
    return task


def too_long(task: Task, outputs: Mapping[str, OutputModalityConfig]) -> str:
    """Whether a task would write more than an output has room for, in words; "" where it would not."""
    written = [output for name in decoders_of(task) if isinstance(output := outputs.get(name), TextModalityConfig)]
    if not task.generation or not written or task.generation.max_length < written[0].max_length:
        return ""
    return f"{task.generation.max_length}; the output has room for {written[0].max_length - 1}"
