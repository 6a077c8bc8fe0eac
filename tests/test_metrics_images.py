"""Figures of drawn pictures: distances between sets, what one covers of the other, use of codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import linalg

from braid.datasets.table import read_table
from braid.metrics import code_use, frechet_distance, kernel_distance, precision_recall
from braid.training import run_from, train
from conftest import Ran

RNG = np.random.default_rng(0)


def test_the_frechet_distance_is_that_of_the_formula() -> None:
    one, other = RNG.normal(0, 1, (500, 6)), RNG.normal(0.3, 1.5, (400, 6)) @ RNG.normal(size=(6, 6))
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = linalg.sqrtm(first @ second).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    few = RNG.normal(0, 1, (4, 6))  # covariances of low rank
    assert np.isfinite(frechet_distance(few, one))


def test_the_kernel_distance_is_about_zero_for_like_sets_and_no_other() -> None:
    sets = [RNG.normal(0, 1, (600, 8)) for _ in range(2)]
    assert abs(kernel_distance(*sets)) < 0.05
    assert kernel_distance(sets[0], sets[1][:500] + 1) > 1


def test_precision_and_recall_tell_copies_from_variety() -> None:
    real = RNG.normal(0, 1, (400, 4))
    assert precision_recall(real, real) == (1, 1)
    copies = np.repeat(real[:8], 50, 0)
    precision, recall = precision_recall(copies[:300], real)
    assert precision == 1 and recall < 0.1
    assert precision_recall(real + 50, real) == (0, 0)


def test_use_of_codes() -> None:
    result = code_use([np.array([0, 1]), np.array([0, 1])], codes=8)
    assert result == {"code-use": 25.0, "code-perplexity": pytest.approx(2)}


def test_drawn_pictures_are_held_against_real_ones_and_saved(braid: Callable[..., Ran], tmp_path: Path) -> None:
    """A codec's reconstructions and a drawer's pictures, by the embeddings of a third model."""
    quick = {"epochs": 1, "workers": 0, "threads": 1}
    scenes = "scenes:image_generation,train=24,val=6,size=32"
    codec = {"task": "reconstruction", "model": {"codecs": {"image": {"kind": "fsq", "width": 16, "max_width": 16}}}}
    small = {"outputs": {"image": {"kind": "image", "size": 32}}}
    train(run_from({**codec, **small, **quick, "data": {"path": scenes}}), tmp_path / "codec")
    image_decoder = {"task": "image_generation", "model": "tiny", "initialize": {"codecs.image": str(tmp_path / "codec")}}
    smaller = run_from({**image_decoder, **quick, "outputs": {"image": {"kind": "image", "size": 16}}, "data": {"path": scenes}})
    assert smaller.outputs["image"].size == 16  # type: ignore[union-attr]
    train(run_from({**image_decoder, **quick, "data": {"path": scenes}}), tmp_path / "drawer")
    finder = {
        "task": "retrieval",
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text"}},
    }
    train(run_from({**finder, **quick, "data": {"path": "scenes:captioning,train=8,val=4,size=32"}}), tmp_path / "finder")
    for task, model, metrics in (
        ("reconstruction", "codec", {"psnr", "ssim", "code-use", "fid", "kid", "precision", "recall"}),
        ("image_generation", "drawer", {"objects", "sized", "whole", "fid", "kid", "precision", "recall", "match"}),
    ):
        given = ["--task", task, "--data", scenes, "--model", str(tmp_path / model), "--extractor", str(tmp_path / "finder")]
        ran = braid("evaluate", *given, "--json")
        assert ran.code == 0, ran.err
        result = json.loads(ran.out)
        assert metrics <= set(result) and all(np.isfinite(value) for value in result.values())
        assert result["fid"] >= 0 and 0 <= result["precision"] <= 100
    assert 'alt="generated"' in (tmp_path / "drawer" / "report.html").read_text()
    table = tmp_path / "prompts.csv"
    table.write_text('caption\na red circle\n"a blue star, small"\n')
    ran = braid("predict", str(tmp_path / "drawer"), str(table), "-o", str(tmp_path / "drawn.csv"))
    assert ran.code == 0, ran.err
    rows = read_table(tmp_path / "drawn.csv").rows
    assert [row["prediction"] for row in rows] == ["drawn/1.png", "drawn/2.png"]  # type: ignore[index]
    assert Image.open(tmp_path / "drawn" / "2.png").size == (32, 32)
    ran = braid("evaluate", "--task", "captioning", "--data", "scenes:captioning,val=2", "--model", str(tmp_path / "finder"))
    assert ran.code == 1 and "it does retrieval" in ran.err
