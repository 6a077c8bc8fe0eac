"""Does a model use each of its inputs? Measures its metric with an input removed, shuffled among rows, and corrupted."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braid.collate import Collator
from braid.errors import UserError
from braid.evaluation import only, predict, prepared, subsets
from braid.explain.attributions import begun, random_orders, sampled_shapley, shapley
from braid.generation import Runtime
from braid.records import Example, Prediction, Sample
from braid.shapes import Float
from braid.tasks import Task

LOST = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of rows that lose an input
IGNORED = 0.05  # an input with a smaller share of the effect of all inputs on the answer is ignored,
UNMOVED = 0.005  # and so is one whose shuffling changes the probability of an answer by less
FOLDS = 10
EXACT = 4  # inputs up to which every subset is evaluated
PAIRS = 4  # of orders in which more inputs are added, each with its reverse

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class InputReport:
    """The contribution of one input.

    ``metric_*``: the task's main metric with the input removed, shuffled among rows, and corrupted. ``shapley``: its Shapley
    value for that metric. ``share``: its share of the inputs' effect on the model's own answers, 0..1. ``robustness``: the metric
    when a share of the rows (``LOST``) has no such input. ``helps``: the metric is significantly better (two standard errors over
    ten folds) than with other rows' values. ``moved``: the mean change of the answer's probability, 0..1, with another row's
    value: a model may need an input to be present, but ignore its content.
    """

    input: str
    metric_removed: float
    metric_shuffled: float
    metric_corrupted: float
    shapley: float
    share: float
    robustness: tuple[float, ...]
    helps: bool
    moved: float


@dataclass(frozen=True)
class Audit:
    """The main metric with all inputs and with none, the contribution of each input, and a verdict in words."""

    metric: str
    metric_all_inputs: float
    metric_no_inputs: float
    inputs: tuple[InputReport, ...]
    num_samples: int

    @property
    def ignored(self) -> tuple[str, ...]:
        """Inputs that hardly change an answer."""
        return tuple(one.input for one in self.inputs if one.share < IGNORED or one.moved < UNMOVED)

    @property
    def verdict(self) -> str:
        """The result in one line."""
        if len(self.inputs) == len(self.ignored):
            return "gives the same answers whatever its inputs are"
        if self.ignored:
            return f"ignores {_and(self.ignored)}"
        if useless := [one.input for one in self.inputs if not one.helps]:
            return f"reads {_and(useless)}, but is no better for it"
        shares = ", ".join(f"the {one.input} {100 * one.share:.0f}%" for one in self.inputs)
        return f"uses all of its inputs ({shares} of the effect on its answers)"


def audit(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    examples: Sequence[Example],
    batch_size: int = 32,
    seed: int = 0,
    watch: Progress | None = None,
) -> Audit:
    """Evaluate with subsets of the inputs, and with each input shuffled and corrupted. With more than four inputs, Shapley values
    and shares are estimated over eight random orders of the inputs instead of all subsets.

    ``share`` follows MM-SHAP (arXiv:2212.08158), with whole inputs as players: v(S) is the probability of the model's answer to
    all inputs when it only gets the inputs S. An input's share is its |phi|, divided by the sum over all inputs.

    Raises:
        UserError: when no row has a reference, or the rows have no input that the model reads.
    """
    scored = [sample for sample in prepared(task, examples) if sample.targets]
    answers = predict(runtime, collator, task, scored, batch_size).some()
    samples = answers.samples
    names = tuple(name for name in collator.inputs if any(name in sample.inputs for sample in samples))
    if not names:
        raise UserError("an audit needs rows with references and an input that the model reads; there are none")
    rng = np.random.default_rng(seed)
    orders = random_orders(names, PAIRS, rng) if len(names) > EXACT else []
    jobs = {subset: [only(sample, subset) for sample in samples] for subset in _measured(names, orders)}
    jobs |= {("shuffled", name): _shuffled(samples, name, rng) for name in names}
    jobs |= {("corrupted", name): [corrupted(sample, name, collator, rng) for sample in samples] for name in names}
    result = {names: answers.predictions}
    left = [key for key in jobs if key != names]
    for key in watch(left, len(left)) if watch else left:
        result[key] = predict(runtime, collator, task, jobs[key], batch_size).predictions
    return _report(task, names, orders, samples, result, rng)


def _others(name: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _measured(names: tuple[str, ...], orders: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The subsets of inputs that are evaluated: all, or those that ``orders`` need and those without one input."""
    if not orders:
        return subsets(names)
    some = [(), names, *(_others(name, names) for name in names), *(one for order in orders for one in begun(order, names))]
    return list(dict.fromkeys(some))


def corrupted(sample: Sample, name: str, collator: Collator, rng: np.random.Generator) -> Sample:
    """The sample with one input corrupted; a sample without that input is unchanged."""
    if name not in sample.inputs:
        return sample
    changed = collator.inputs[name].config.corrupt(sample.inputs[name], rng, sample.source)
    return replace(sample, inputs={**sample.inputs, name: changed})


def _shuffled(samples: Sequence[Sample], name: str, rng: np.random.Generator) -> list[Sample]:
    """Give every row the value of another row."""
    order = rng.permutation(len(samples))
    giver = np.empty(len(samples), np.int64)
    giver[order] = np.roll(order, 1)
    return [
        replace(sample, inputs={**sample.inputs, name: samples[giver[row]].inputs.get(name)})
        if name in sample.inputs and name in samples[giver[row]].inputs
        else sample
        for row, sample in enumerate(samples)
    ]


def _report(
    task: Task,
    names: tuple[str, ...],
    orders: Sequence[tuple[str, ...]],
    samples: Sequence[Sample],
    result: Mapping[tuple[str, ...], Sequence[Prediction]],
    rng: np.random.Generator,
) -> Audit:
    metrics = {key: float(task.score(predictions, samples)[task.main_metric]) for key, predictions in result.items()}
    whole = result[names]
    measured = _measured(names, orders)
    worth = {subset: _agreement(result[subset], whole) for subset in measured}
    scores = {subset: np.array(metrics[subset]) for subset in measured}
    effects = {name: np.abs(value) for name, value in _shapley(worth, names, orders).items()}
    total = sum(float(value.sum()) for value in effects.values())
    values = _shapley(scores, names, orders)
    reports = []
    for name in names:
        without = result[_others(name, names)]
        reports.append(
            InputReport(
                name,
                metrics[_others(name, names)],
                metrics["shuffled", name],
                metrics["corrupted", name],
                float(values[name]),
                float(effects[name].sum()) / total if total > 1e-6 * len(samples) else 0.0,
                tuple(_with_lost(task, whole, without, samples, share, rng) for share in LOST),
                _significantly_better(task, whole, result["shuffled", name], samples),
                float(np.abs(_agreement(result["shuffled", name], whole) - _agreement(whole, whole)).mean()),
            )
        )
    return Audit(task.main_metric, metrics[names], metrics[()], tuple(reports), len(samples))


def _shapley(
    worth: Mapping[tuple[str, ...], Float[np.ndarray, "..."]], names: Sequence[str], orders: Sequence[tuple[str, ...]]
) -> dict[str, Float[np.ndarray, "..."]]:
    return sampled_shapley(worth, names, orders) if orders else shapley(worth, names)


def _agreement(predictions: Sequence[Prediction], whole: Sequence[Prediction]) -> Float[np.ndarray, " rows"]:
    """The probability of the answer to all inputs. For a text, it is 0 unless the same text is generated again."""
    return np.array([_probability(one, full) for one, full in zip(predictions, whole, strict=True)])


def _probability(one: Prediction, full: Prediction) -> float:
    if full.label is not None and full.label in one.scores:
        return one.scores[full.label]
    return one.confidence if one.text == full.text else 0.0


def _significantly_better(
    task: Task, ours: Sequence[Prediction], theirs: Sequence[Prediction], samples: Sequence[Sample]
) -> bool:
    """Whether the metric of ``ours`` is better by two standard errors, over folds of the same rows."""
    folds = min(FOLDS, len(samples))
    gains = []
    for fold in range(folds):
        rows = range(fold, len(samples), folds)
        kept = [samples[row] for row in rows]
        a, b = (task.score([given[row] for row in rows], kept)[task.main_metric] for given in (ours, theirs))
        gains.append(a - b if task.better == "higher" else b - a)
    return folds > 1 and bool(np.mean(gains) > 2 * np.std(gains, ddof=1) / math.sqrt(folds))


def _and(names: Sequence[str]) -> str:
    return " and ".join(f"the {name}" for name in names)


def _with_lost(
    task: Task,
    whole: Sequence[Prediction],
    without: Sequence[Prediction],
    samples: Sequence[Sample],
    share: float,
    rng: np.random.Generator,
) -> float:
    """The metric when a share of the rows has no such input: answers do not depend on other rows, so two lists can be mixed."""
    lost = rng.permutation(len(samples)) < round(share * len(samples))
    mixed = [b if gone else a for a, b, gone in zip(whole, without, lost, strict=True)]
    return float(task.score(mixed, samples)[task.main_metric])
