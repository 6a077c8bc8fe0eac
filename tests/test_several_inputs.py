"""Three inputs and more: losses of each input, input dropout, every subset evaluated, audits of any number."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import variants
from braid.bundle import read_bundle
from braid.collate import Collator
from braid.comparison.config import alone
from braid.decoders import ClassesDecoderConfig
from braid.errors import UserError
from braid.evaluation import evaluate_subsets, predict, subsets
from braid.explain import audit
from braid.explain.attributions import begun, sampled_shapley, shapley
from braid.modalities import LabelsModalityConfig, TextModalityConfig
from braid.model import Model
from braid.objectives import LikelihoodConfig
from braid.presets import tiny
from braid.records import Batch, Example
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.tasks import Captioning, Classification, Retrieval
from braid.training import RunConfig, run_from, train
from conftest import Ran

CONFIG = replace(tiny(), encoders={**tiny().encoders, "tabular": variants.ENCODERS["mlp"]})
ROWS = 24


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A table of photos, texts and prices; the price decides the label."""
    folder = tmp_path_factory.mktemp("posts")
    rng = np.random.default_rng(0)
    lines = ["image,text,price,label,split"]
    for row in range(ROWS):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{row}.png")
        label = "dear" if row % 2 else "cheap"
        price = rng.uniform(60, 90) if row % 2 else rng.uniform(1, 20)
        lines.append(f"{row}.png,post {row},{price:.1f},{label},{'val' if row >= 16 else 'train'}")
    (folder / "posts.csv").write_text("\n".join(lines) + "\n")
    yield folder / "posts.csv"


def run_of(path: Path, **settings: Any) -> RunConfig:
    whole = {
        "task": "classification",
        "data": {"path": str(path), "columns": {"tabular": "price"}},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 16}, "prompt": {"kind": "text"}, "tabular": {"kind": "tabular"}},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 2},
        "epochs": 4,
        "batch_size": 8,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
    }
    return run_from({**whole, **settings})


def model_and_batch(lost: int = -1) -> tuple[Model, Batch]:
    """Eight captioned rows with three inputs; row ``lost`` has no table."""
    rows = list(variants.samples_of(CONFIG))
    if lost >= 0:
        inputs = {name: value for name, value in rows[lost].inputs.items() if name != "tabular"}
        rows[lost] = replace(rows[lost], inputs=inputs)
    collator = Collator(variants.inputs(CONFIG), variants.outputs())
    return variants.build(CONFIG), to_tensors(collator(tuple(rows)).batch, torch.device("cpu"))


def test_three_inputs_are_dropped_and_learned_alone_by_default(posts: Path) -> None:
    run = run_of(posts)
    assert isinstance(run.objective, LikelihoodConfig)
    assert run.input_dropout == {"image": 0.1, "prompt": 0.1, "tabular": 0.1}
    assert run.objective.input_weights == {"image": 0.2, "prompt": 0.2, "tabular": 0.2}
    off = run_of(posts, input_dropout={}, objective={"kind": "likelihood", "input_weights": {}})
    assert off.input_dropout == {} and off.objective == replace(run.objective, input_weights={})
    two = run_of(posts, data={"path": str(posts), "columns": {"image": "image", "text": "text"}})
    assert two.input_dropout == {} and two.objective == replace(run.objective, input_weights={})
    assert alone(run, "image").objective == replace(run.objective, input_weights={})


def test_the_loss_adds_each_input_alone_by_its_weight() -> None:
    model, batch = model_and_batch(lost=3)
    weights = {"image": 0.5, "tabular": 0.25}
    objective = LikelihoodConfig(label_smoothing=0.0, input_weights=weights).build(Captioning(), None, ())
    loss, parts = objective(model, batch, ())
    plain, nothing = LikelihoodConfig(label_smoothing=0.0).build(Captioning(), None, ())(model, batch, ())
    assert not nothing and parts["together_loss"] == pytest.approx(plain.item(), rel=1e-6)
    assert loss.item() == pytest.approx(
        parts["together_loss"] + 0.5 * parts["image_alone_loss"] + 0.25 * parts["tabular_alone_loss"], rel=1e-6
    )
    only = {name: replace(batch, inputs={name: batch.inputs[name]}) for name in weights}
    assert parts["image_alone_loss"] == pytest.approx(model.losses(only["image"], ["text"])["text"].item(), rel=1e-5)
    kept = torch.arange(8) != 3
    table = Batch(
        batch.ids[:7],
        {"tabular": replace(batch.inputs["tabular"], index=batch.inputs["tabular"].index[kept])},
        {
            "text": replace(
                batch.targets["text"], values=batch.targets["text"].values[kept], mask=batch.targets["text"].mask[kept]
            )
        },
    )
    assert parts["tabular_alone_loss"] == pytest.approx(7 / 8 * model.losses(table, ["text"])["text"].item(), rel=1e-5)
    assert torch.equal(objective.validation_loss(model, batch), plain)


def test_an_input_that_no_row_has_adds_nothing_and_gives_no_nan() -> None:
    model, batch = model_and_batch()
    batch = replace(batch, inputs={name: one for name, one in batch.inputs.items() if name != "tabular"})
    objective = LikelihoodConfig(input_weights={"tabular": 1.0}).build(Captioning(), None, ())
    loss, parts = objective(model, batch, ())
    assert parts["tabular_alone_loss"] == 0.0 and loss.item() == pytest.approx(parts["together_loss"])
    loss.backward()
    assert all(one.grad is None or torch.isfinite(one.grad).all() for one in model.parameters())


def test_a_weight_of_no_input_or_of_nothing_is_a_clear_error(posts: Path) -> None:
    with pytest.raises(UserError, match=r"objective.input_weights names 'sound'; choose from image, prompt, tabular"):
        run_of(posts, objective={"kind": "likelihood", "input_weights": {"sound": 0.2}})
    with pytest.raises(UserError, match=r"input_weights.image is 0; it must be above 0"):
        LikelihoodConfig(input_weights={"image": 0.0})


def test_a_run_logs_the_losses_and_evaluate_scores_every_subset(posts: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    train(run_of(posts, epochs=6), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"together_loss", "image_alone_loss", "prompt_alone_loss", "tabular_alone_loss"} <= records[-2].keys()
    assert ("tabular",) in read_bundle(tmp_path / "run" / "best").interface.trained_on
    arguments = ("evaluate", "--task", "classification", "--data", posts, "--model", tmp_path / "run", "--subsets")
    ran = braid(*arguments, "--json")
    assert ran.code == 0, ran.err
    message = json.loads(ran.out)
    rows = {tuple(one["inputs"]): one for one in message["subsets"]}
    assert len(rows) == 7 and set(message["subsets"][0]["inputs"]) == {"image", "prompt", "tabular"}
    assert message["subsets"][0]["accuracy"] == message["accuracy"]
    assert rows["tabular",]["accuracy"] > rows["image",]["accuracy"]
    assert all(one["num_samples"] == 8 for one in rows.values())
    shown = braid(*arguments).out
    assert " + " in shown and "difference from all" in shown


@dataclass(frozen=True)
class Named(Classification):
    """A task that reads every field but the label as a text of that name."""

    def inputs_of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name != "label"}


def named_texts(number: int) -> tuple[TorchRuntime, Collator, list[Example]]:
    names = [f"text_{place}" for place in range(number)]
    text = TextModalityConfig(max_length=8).build(variants.tokenizer())
    label = LabelsModalityConfig(labels=("few", "many")).build()
    config = replace(
        tiny(),
        encoders={name: tiny().encoders["prompt"] for name in names},
        decoders={"label": ClassesDecoderConfig(dropout=0.0)},
    )
    torch.manual_seed(0)
    model = config.build(dict.fromkeys(names, text), {"label": label}).eval()
    words = ("circle", "square", "red", "blue", "many", "above")
    rows = [
        Example(
            str(row), {**{name: words[(row * 5 + k * k) % 6] for k, name in enumerate(names)}, "label": ("few", "many")[row % 2]}
        )
        for row in range(8)
    ]
    return TorchRuntime(model, variants.tokenizer()), Collator(dict.fromkeys(names, text), {"label": label}), rows


def test_subsets_are_scored_on_the_same_rows() -> None:
    runtime, collator, rows = named_texts(3)
    samples = [Named().prepare(row) for row in rows]
    samples[0] = replace(samples[0], inputs={"text_0": "circle"})
    scores = evaluate_subsets(runtime, collator, Named(), samples)
    assert [one.inputs for one in scores] == subsets(["text_0", "text_1", "text_2"])[:0:-1]
    last = [replace(sample, inputs={k: v for k, v in sample.inputs.items() if k == "text_2"}) for sample in samples]
    answers = predict(runtime, collator, Named(), last)
    (one,) = (one for one in scores if one.inputs == ("text_2",))
    assert one.metrics == Named().score(answers.predictions, answers.samples)
    assert {one.metrics["num_samples"] for one in scores} == {8}


def test_subsets_that_cannot_be_are_refused() -> None:
    runtime, collator, rows = named_texts(9)
    samples = [Named().prepare(row) for row in rows]
    with pytest.raises(UserError, match="--subsets needs rows with 2 to 8 inputs that the model reads; there are 9"):
        evaluate_subsets(runtime, collator, Named(), samples)
    one = [replace(sample, inputs={"text_4": sample.inputs["text_4"]}) for sample in samples]
    with pytest.raises(UserError, match="--subsets needs rows with 2 to 8 inputs that the model reads; there is text_4"):
        evaluate_subsets(runtime, collator, Named(), one)
    with pytest.raises(UserError, match="retrieval reads its inputs apart, so it has no subsets of inputs; leave out --subsets"):
        evaluate_subsets(runtime, collator, Retrieval(), samples)


def test_an_audit_of_six_inputs_estimates_their_shares() -> None:
    runtime, collator, rows = named_texts(6)
    result = audit(runtime, collator, Named(), rows)
    assert [one.input for one in result.inputs] == list(collator.inputs)
    assert sum(one.share for one in result.inputs) == pytest.approx(1, abs=1e-6)
    worth = sum(one.shapley for one in result.inputs)
    assert worth == pytest.approx(result.metric_all_inputs - result.metric_no_inputs, abs=1e-6)


def test_all_orders_give_the_exact_shapley_values() -> None:
    names = ("a", "b", "c", "d")
    rng = np.random.default_rng(0)
    worth = {some: rng.normal(size=3) for some in subsets(names)}
    every = list(permutations(names))
    exact, sampled = shapley(worth, names), sampled_shapley(worth, names, every)
    for name in names:
        np.testing.assert_allclose(exact[name], sampled[name], atol=1e-12)
    assert begun(("c", "a"), ("a", "b", "c")) == [(), ("c",), ("a", "c")]
