"""Tasks, one file each; ``protocol.py`` defines what the rest of Braid knows of a task.

A run of several tasks chooses its best epoch by ``MEAN``: the mean of their main metrics, where metrics that are better when
lower count negative.
"""

from collections.abc import Mapping

from braid.bundle import Interface
from braid.config import did_you_mean, from_dict, kinds
from braid.errors import UserError
from braid.modalities import OutputModalityConfig
from braid.records import Example
from braid.tasks.captioning import Captioning
from braid.tasks.classification import Classification
from braid.tasks.image_generation import ImageGeneration
from braid.tasks.language_modelling import LanguageModelling
from braid.tasks.protocol import TaskProtocol
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

MEAN = "mean"

__all__ = [
    "MEAN",
    "Captioning",
    "Classification",
    "ImageGeneration",
    "LanguageModelling",
    "Reconstruction",
    "Regression",
    "Retrieval",
    "Task",
    "VisualQuestionAnswering",
    "TaskProtocol",
    "confident",
    "task_named",
    "task_of",
    "task_reading",
    "too_long",
]


def confident(task: Task, feature: str) -> Task:
    """Return the task, if its answers have a confidence.

    Args:
        feature: what needs the confidence, for the message.
    Raises:
        UserError: when the task gives no confidence.
    """
    if not task.confident:
        *others, last = (kind for kind, known in kinds(Task).items() if known.confident)
        sure = f"{', '.join(others)} and {last}"
        raise UserError(f"{task.kind} gives no confidence; {feature} is for {sure}")
    return task


def task_named(kind: str) -> Task:
    """A task with its default settings."""
    if kind not in kinds(Task):
        raise UserError(f"there is no task {kind!r}; {did_you_mean(kind, list(kinds(Task)))}")
    return from_dict(Task, {"kind": kind}, "task")


def task_of(interface: Interface, kind: str) -> Task:
    """A task with the settings of this model (prompt, generation).

    Raises:
        UserError: when the model was not trained for it, naming what it can do.
    """
    if kind not in kinds(Task):
        raise UserError(f"there is no task {kind!r}; {did_you_mean(kind, list(kinds(Task)))}")
    if kind not in interface.tasks:
        own = kind == "classification" and "retrieval" in interface.tasks
        instead = "; name labels of your own, such as dog,cat, and it compares them" if own else ""
        does = ", ".join(sorted(interface.tasks)) or "nothing yet"
        raise UserError(f"this model was not trained for {kind}; it does {does}{instead}")
    task: Task = from_dict(Task, interface.tasks[kind], f"interface.json: tasks.{kind}")
    if message := too_long(task, interface.outputs):
        raise UserError(f"interface.json: tasks.{kind}.generation.max_length is {message}")
    return task


def task_reading(interface: Interface, example: Example) -> Task:
    """The first of a model's tasks that reads every field of a row.

    Raises:
        UserError: when there is none, naming what the model does.
    """
    for kind in (kind for kind in kinds(Task) if kind in interface.tasks):
        task = task_of(interface, kind)
        values = list(map(id, task.inputs_of(example.fields).values()))
        if task.reads(example) and all(id(value) in values for value in example.fields.values()):
            return task
    given, known = " and ".join(f"the {name}" for name in example.fields), ", ".join(sorted(interface.tasks))
    raise UserError(
        f"this model does {known or 'nothing yet'}, which does not read {given}; leave one out, or choose another model"
    )


def too_long(task: Task, outputs: Mapping[str, OutputModalityConfig]) -> str:
    """A message if a task may write more tokens than its output has room for, else ""."""
    room = [length for name in task.decoders if name in outputs and (length := getattr(outputs[name], "max_length", 0))]
    if not task.generation or not room or task.generation.max_length < room[0]:
        return ""
    return f"{task.generation.max_length}; the output has room for {room[0] - 1}"
