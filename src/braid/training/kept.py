"""The metrics of the model that a run keeps, as ``braid evaluate`` measures them."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from braid.bundle import Bundle, find_bundle, read_bundle, write_scores
from braid.collate import Collated, Collator
from braid.datasets import open_dataset
from braid.evaluation import evaluate
from braid.runtime.device import find_device
from braid.runtime.torch import TorchRuntime, load_model
from braid.tasks import task_of
from braid.training.config import RunConfig
from braid.training.sections import seconds_of

LONGEST = 30.0  # seconds that the measurement may take
SHARE = 0.1  # of the run's time, if it has one


@dataclass(frozen=True)
class Kept:
    """``metrics`` of the kept model on all ``num_rows`` val rows; {} if they would take long.

    ``rougher``: what training measured with to save time, in words; "" if it measured as ``braid evaluate`` does.
    """

    metrics: Mapping[str, float]
    num_rows: int = 0
    rougher: str = ""


class _TooLong(Exception):
    pass


def measured(config: RunConfig, folder: Path, limit: float = LONGEST) -> Kept:
    """Score the kept model of a run's ``folder`` on its val rows, and write the metrics to the model's data card.

    Args:
        limit: the seconds that it may take.
    """
    rougher = "; ".join(_rougher(config))
    if config.tasks or config.best == "val_loss":
        return Kept({}, rougher=rougher)
    until = time.monotonic() + min([limit, *([SHARE * seconds_of(config.time)] if config.time else [])])
    try:
        metrics, num_rows = _measured(config, read_bundle(find_bundle(folder)), until)
    except (_TooLong, KeyboardInterrupt):
        return Kept({}, rougher=rougher)
    return Kept(metrics, num_rows, rougher)


def _rougher(config: RunConfig) -> Iterator[str]:
    """How the evaluations of training differ from ``braid evaluate``."""
    if config.cache_features:
        yield f"cached features of {'bfloat16' if config.precision == 'bfloat16' else 'float16'}"
    if config.half:
        yield "weights before they were saved as float16"
    generation = getattr(config.task, "generation", None)
    if generation is not None and config.task.method not in ("greedy", "no search", "beam 1"):
        yield f"greedy search, not {config.task.method}"
    if config.evaluation.limit:
        yield f"at most {config.evaluation.limit:,} val rows"


def _measured(config: RunConfig, bundle: Bundle, until: float) -> tuple[dict[str, float], int]:
    examples = open_dataset(config.data.path, config.data.columns).split(config.data.val)
    runtime = TorchRuntime(load_model(bundle), bundle.tokenizer, find_device(config.device))
    collator = Collator(bundle.inputs, bundle.outputs)
    task = task_of(bundle.interface, config.task.kind)

    def watched(parts: Iterable[Collated], total: int) -> Iterator[Collated]:
        started = time.monotonic()
        for number, part in enumerate(parts):
            yield part
            now = time.monotonic()
            if now + (now - started) / (number + 1) * (total - number - 1) > until:
                raise _TooLong

    metrics, answers = evaluate(runtime, collator, task, examples, config.evaluation.tokenizer, watch=watched)
    count = len(answers.samples)
    scores = {name: value for name, value in metrics.items() if name != "num_samples"}
    write_scores(bundle, scores, f"{Path(config.data.path).name} {config.data.val}, {count} rows, {task.method}")
    return scores, count
