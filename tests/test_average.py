"""The mean of several models' weights: what it is, and what cannot be averaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braid.bundle import average, read_bundle
from braid.errors import UserError
from braid.training import run_from, train
from conftest import Ran
from test_training import TINY

Braid = Callable[..., Ran]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs that keeps the models of its last two."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    train(run_from(TINY, ["epochs=3", "keep=2"]), folder)
    return folder


def test_a_run_keeps_the_models_of_its_last_epochs_and_their_mean_answers(braid: Braid, run: Path, tmp_path: Path) -> None:
    assert sorted(folder.name for folder in run.glob("epoch-*")) == ["epoch-2", "epoch-3"]
    ran = braid("average", run / "epoch-2", run / "epoch-3", "--output", tmp_path / "mean", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["models"] == 2
    mean, parts = read_bundle(tmp_path / "mean"), [read_bundle(run / f"epoch-{n}").weights() for n in (2, 3)]
    for name, value in mean.weights().items():
        assert np.allclose(value, (parts[0][name] + parts[1][name]) / 2, atol=1e-6)
    assert mean.interface.card.scores == {}
    asked = braid(
        "evaluate", "--model", tmp_path / "mean", "--data", "scenes:captioning,train=1,val=3,test=1,compositional=1,size=32"
    )
    assert asked.code == 0, asked.err


def test_models_that_differ_in_chances_of_training_alone_have_a_mean(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run / "epoch-3", tmp_path / "other")
    text = (other / "model.json").read_text()
    assert '"dropout": 0.0' in text and '"word_dropout": 0.0' in text
    (other / "model.json").write_text(text.replace('dropout": 0.0', 'dropout": 0.3'))
    average([read_bundle(run / "epoch-2"), read_bundle(other)], tmp_path / "mean")
    assert read_bundle(tmp_path / "mean").architecture == read_bundle(run / "epoch-2").architecture


def test_a_model_of_another_kind_is_named(run: Path, tmp_path: Path) -> None:
    first = read_bundle(run / "epoch-2")
    with pytest.raises(UserError, match="averaging needs two or more models; give their folders"):
        average([first], tmp_path / "mean")
    for file, old, new, what in (
        ("model.json", '"depth": 1', '"depth": 2', r"architecture \(model.json\)"),
        ("tokenizer.json", '"NFC"', '"NFKC"', "tokenizer"),
        ("interface.json", '"size": 32', '"size": 64', r"inputs or outputs \(interface.json\)"),
    ):
        other = shutil.copytree(run / "epoch-3", tmp_path / file)
        text = (other / file).read_text()
        assert old in text
        (other / file).write_text(text.replace(old, new))
        with pytest.raises(UserError, match=f"{file} differs from .*epoch-2 in its {what}; all models must have the same"):
            average([first, read_bundle(other)], tmp_path / "mean")
