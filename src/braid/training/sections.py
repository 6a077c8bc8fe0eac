"""The sections of a run that stand alone: data, tokenizer, optimizer, evaluation."""

import math
import re
from dataclasses import dataclass, field

from braid.config import within
from braid.errors import UserError
from braid.metrics import tokenizer_named

AUTO = "auto"  # of cache_features: a folder of the user's own, which all runs share
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(time: str) -> float:
    """The seconds of a time such as ``10m``, ``1.5h`` or ``90s``; infinity for "".

    Raises:
        UserError: for anything else.
    """
    if not time:
        return math.inf
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|)", time.strip())
    if parsed is None or not float(parsed[1]):
        raise UserError(f"time is {time!r}; write a number with s, m or h, such as 10m")
    return float(parsed[1]) * UNITS[parsed[2]]


@dataclass(frozen=True)
class DataConfig:
    """What to train on, and what to evaluate on.

    Args:
        path: a file or folder of any supported format, or the procedural scenes (``scenes:captioning``).
        columns: roles to column names, such as ``image: photo``; a usual name is recognised without, and
            ``text: ""`` leaves a role out.
        train: the split to train on.
        val: the split to evaluate on after each epoch.
        limit_train: train on the first rows only; 0 takes all.
        every: train on one of n images and its rows only, or on one of n rows without images, chosen at random.
        limit_val: evaluate on the first rows only; 0 takes all.
    """

    path: str
    columns: dict[str, str] = field(default_factory=dict)
    train: str = "train"
    val: str = "val"
    limit_train: int = 0
    limit_val: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "limit_train", "limit_val")
        within(self, 1, math.inf, "every")


@dataclass(frozen=True)
class TokenizerConfig:
    """Trained on the run's own text, or taken from another model's folder.

    Args:
        vocab_size: tokens of a tokenizer that is trained.
        lowercase: turn text into lower case first.
        bundle: the model (folder or built-in name) whose tokenizer is taken; "" trains one.
    """

    vocab_size: int = 6000
    lowercase: bool = False
    bundle: str = ""

    def __post_init__(self) -> None:
        within(self, 259, 10_000_000, "vocab_size")  # 256 bytes and three special tokens


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (arXiv:1711.05101) with linear warm-up and cosine decay.

    Args:
        learning_rate: the highest, reached after the warm-up.
        weight_decay: of the weights; norms, biases and embeddings are not decayed.
        warmup_steps: steps in which the learning rate rises from 0.
        final: share of the learning rate that is left at the last step.
        clip: the largest norm of the gradient; 0 does not bound it.
        accumulation: batches whose gradients are added up for one step.
        scales: starts of parameter names to factors on their learning rate; 0 freezes them; the longest match counts.
    """

    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warmup_steps: int = 200
    final: float = 0.02
    clip: float = 1.0
    accumulation: int = 1
    scales: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "learning_rate", "weight_decay", "warmup_steps", "final", "clip")
        within(self, 1, math.inf, "accumulation")


@dataclass(frozen=True)
class EvaluationConfig:
    """What happens after each epoch: the loss and the task's metrics on rows of the validation split.

    Args:
        limit: evaluate the first rows only; 0 takes all.
        batch_size: rows answered together.
        patience: stop after so many epochs without a better metric; 0 never stops early.
        tokenizer: of caption metrics: ptb, characters or none; auto is characters for references in scripts without
            spaces, such as Chinese and Thai, else ptb.
    """

    limit: int = 500
    batch_size: int = 32
    patience: int = 0
    tokenizer: str = "auto"

    def __post_init__(self) -> None:
        within(self, 0, math.inf, "limit", "patience")
        within(self, 1, math.inf, "batch_size")
        if self.tokenizer != "auto":
            tokenizer_named(self.tokenizer)
