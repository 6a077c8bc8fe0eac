"""Models that leave out the parts which another model has: what they give, and what is said when that model is gone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import braid as library
from braid.bundle import WEIGHTS, read_bundle, write_without
from braid.runtime.export import export
from braid.training import run_from, train
from conftest import Ran, shapes_unchecked
from test_training import TINY

Braid = Callable[..., Ran]
TEXT = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}
SEES: dict[str, Any] = {
    **TINY,
    "task": "retrieval",
    "data": {"path": "scenes:captioning,train=24,val=8,test=1,compositional=1,size=32"},
    "model": {
        "width": 16,
        "encoders": {"image": {"kind": "vit", "patch_size": 8, "width": 16, "depth": 1, "heads": 2}, "prompt": TEXT},
        "fusion": {"kind": "transformer", "depth": 1, "heads": 2},
        "decoders": {"embedding": {"kind": "embedding", "width": 8}},
    },
    "outputs": {"embedding": {"kind": "embedding"}},
    "objective": {"kind": "contrastive"},
    "epochs": 1,
    "half": True,
}
SHARED = ("encoders.image", "encoders.prompt", "projections.image", "projections.prompt", "fusion", "decoders.embedding")


def hears(sees: Path) -> dict[str, Any]:
    """The run of a model that has all parts of another one, and learns to listen."""
    audio = {"kind": "audio_transformer", "width": 16, "depth": 1, "heads": 2}
    return {
        **SEES,
        "task": {"kind": "retrieval", "sides": ["audio", "prompt"]},
        "data": {"path": "scenes:audio,train=24,val=8,test=1,compositional=1"},
        "model": {**SEES["model"], "encoders": {**SEES["model"]["encoders"], "audio": audio}},
        "inputs": {**SEES["inputs"], "audio": {"kind": "audio", "seconds": 3.0}},
        "tokenizer": {"bundle": str(sees)},
        "initialize": dict.fromkeys(SHARED, str(sees)),
        "freeze": list(SHARED),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sees`` finds images by texts; ``hears``, exported without what ``sees`` has, hears as well."""
    result = tmp_path_factory.mktemp("bases")
    train(run_from(SEES), result / "sees")
    train(run_from(hears(result / "sees")), result / "run")
    write_without(read_bundle(result / "run" / "best"), str(result / "sees"), result / "hears")
    with shapes_unchecked():
        export(read_bundle(result / "hears"), result / "hears")
    return result


def test_it_stores_what_is_new_alone_and_answers_as_the_whole_model(folder: Path) -> None:
    whole, part = read_bundle(folder / "run" / "best"), read_bundle(folder / "hears")
    assert part.interface.base and part.interface.base.parts == tuple(sorted(SHARED))
    assert part.shapes() == whole.shapes()
    assert all(np.array_equal(value, whole.weights()[name]) for name, value in part.weights().items())
    assert (folder / "hears" / WEIGHTS).stat().st_size < (folder / "run" / "best" / WEIGHTS).stat().st_size
    models = [library.load(folder / "run"), *(library.load(folder / "hears", runtime=runtime) for runtime in ("torch", "onnx"))]
    sound = (np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1, 16_000)
    first, *others = [np.concatenate([one.embed(texts="a red circle"), one.embed(audio=sound)]) for one in models]
    assert all(np.allclose(first, other, atol=1e-5) for other in others)


def test_it_searches_the_index_that_its_base_made(folder: Path, braid: Braid, tmp_path: Path) -> None:
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{number}.png")
    sees, hears_too = library.load(folder / "sees"), library.load(folder / "hears")
    sees.index(tmp_path, tmp_path / "index")
    sound = (np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1, 16_000)
    assert len(hears_too.search(tmp_path / "index", audio=sound)) == 2
    assert hears_too.search(tmp_path / "index", "a red circle") == sees.search(tmp_path / "index", "a red circle")


def test_a_base_that_is_gone_or_changed_is_named(folder: Path, braid: Braid, tmp_path: Path) -> None:
    shutil.copytree(folder / "hears", tmp_path / "hears")
    ran = braid("embed", "a red circle", "--model", tmp_path / "hears", "-o", tmp_path / "x.npy")
    assert ran.code == 1 and "which is not there; put it there again" in ran.err
    shutil.copytree(folder / "sees", tmp_path / "sees")
    assert braid("embed", "a red circle", "--model", tmp_path / "hears", "-o", tmp_path / "x.npy").code == 0
    shutil.copy(folder / "run" / "best" / WEIGHTS, tmp_path / "sees" / "best" / WEIGHTS)
    ran = braid("embed", "a red circle", "--model", tmp_path / "hears", "-o", tmp_path / "x.npy")
    assert ran.code == 1 and "whose weights have changed; save it again" in ran.err


def test_a_model_without_a_part_of_the_base_is_refused(folder: Path, braid: Braid, tmp_path: Path) -> None:
    ran = braid("export", folder / "sees", "--output", tmp_path / "alone", "--base", "small")
    assert ran.code == 1 and "has no part with the weights of small; leave the base out" in ran.err
    ran = braid("export", folder / "run", "--output", tmp_path / "part", "--base", folder / "sees")
    assert ran.code == 0 and (tmp_path / "part" / "embedding.vector.onnx").is_file()
    ran = braid("export", folder / "run", "--base", folder / "sees")
    assert ran.code == 1 and "give it with --output, and leave --int8 out" in ran.err.replace("\n", " ")
