"""braid explain and grade-explanations with tiny trained models: what they print, write and say when something is wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import braid as library
from braid.datasets.scenes import grounded, scene_examples
from braid.errors import install_command
from braid.training import run_from, train
from conftest import Ran
from test_training import TINY

Braid = Callable[..., Ran]
SCENES = "train=64,val=12,test=1,compositional=1,size=32,objects=1"


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers questions from a list, and labels posts."""
    folder = tmp_path_factory.mktemp("answerer") / "run"
    settings = {
        **TINY,
        "task": {"kind": "vqa", "closed": True},
        "data": {"path": f"scenes:vqa,{SCENES}"},
        "tasks": [{"task": "classification", "data": {"path": f"scenes:classification,{SCENES}"}}],
    }
    train(run_from(settings), folder)
    return folder


def message(ran: Ran) -> dict:  # type: ignore[type-arg]
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_caption_is_explained_word_by_word(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "why.html"
    result = message(braid("explain", photos / "0.png", "-m", captioner, "--method", "gradients", "-o", page, "--json"))
    assert [one["text"] for one in result["outputs"]] == result["answer"].split()
    assert len(result["inputs"]["image"]["boxes"]) == 16
    assert all(len(one["attributions"]["image"]) == 16 for one in result["outputs"])
    assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert set(result["grades"]) == {"deletion", "insertion", "sensitivity"}
    assert all(0 <= grade <= 1 for grade in result["grades"].values())
    html = page.read_text(encoding="utf-8")
    assert html.count("<figure") == 1 + len(result["outputs"])
    ran = braid("explain", photos / "0.png", "-m", captioner, "--method", "gradients")
    assert ran.code == 0, ran.err
    for one in result["outputs"]:
        assert re.search(rf"^{re.escape(one['text'])} +[01]\.\d\d +patch", ran.out, re.MULTILINE)
    assert "sensitivity" in ran.err


def test_a_page_needs_nothing_else_and_what_was_typed_stays_text(
    braid: Braid, answerer: Path, photos: Path, tmp_path: Path
) -> None:
    page, question = tmp_path / "why.html", 'is <script>alert(1)</script> & "it" red?'
    ran = braid("explain", photos / "0.png", "--question", question, "-m", answerer, "--method", "occlusion", "-o", page)
    assert ran.code == 0, ran.err
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script&gt;alert" in html
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|url\(|@import|https?://""", html)
    assert html.count("<img") == 3  # the scale, the picture, its heat map


def test_a_picture_of_an_explanation_is_saved(braid: Braid, answerer: Path, photos: Path, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "why.png"
    ran = braid("explain", photos / "0.png", "--text", "a red circle", "-m", answerer, "--method", "gradients", "-o", place)
    assert ran.code == 0, ran.err
    assert f"saved {place}" in ran.err.replace("\n", "")
    with Image.open(place) as image:
        assert image.width > 400 and len(image.convert("RGB").getcolors(1 << 20) or []) > 50


def test_a_text_alone_is_explained(braid: Braid, answerer: Path) -> None:
    result = message(braid("explain", "--text", "a large red circle", "-m", answerer, "--method", "shapley", "--json"))
    assert list(result["inputs"]) == ["prompt"]
    assert result["inputs"]["prompt"]["words"] == ["a", "large", "red", "circle"]
    assert result["checks"]["efficiency_gap"] < 1e-4


def test_a_notebook_shows_the_page(answerer: Path, photos: Path) -> None:
    result = library.load(answerer).explain(photos / "0.png", question="how many shapes are there?", method="grad_cam")
    assert "<figure" in result._repr_html_()
    assert result.outputs == (result.answer,)
    quick = library.load(answerer).explain(np.asarray(Image.open(photos / "0.png")), question="how many?", graded=False)
    assert not quick.grades and quick.checks


def test_methods_are_ranked_beside_chance(braid: Braid, answerer: Path, tmp_path: Path) -> None:
    page = tmp_path / "grades.html"
    data = f"scenes:classification,{SCENES}"
    result = message(
        braid("grade-explanations", answerer, "--data", data, "--methods", "occlusion,gradients", "-o", page, "--json")
    )
    ranked = [one["method"] for one in result["methods"]]
    assert set(ranked) == {"occlusion", "gradients", "chance"}
    assert result["best"] == next(name for name in ranked if name != "chance")
    points = [one["pointing"] for one in result["methods"]]
    assert points == sorted(points, reverse=True)
    assert all(0 <= one[name] <= 1 for one in result["methods"] for name in ("deletion", "insertion", "sensitivity"))
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") >= 4 and "<script" not in html
    shown = braid("grade-explanations", answerer, "--data", data, "--methods", "gradients", "--limit", "4")
    assert shown.code == 0, shown.err
    assert "chance" in shown.out and "better when higher" in shown.err


def test_questions_and_words_point_at_their_object() -> None:
    for example in scene_examples("vqa", "val", 60, size=48):
        mask = grounded(example, example.fields["answers"][0])
        if mask is None:
            continue
        image = example.fields["image"]
        scene = image.world.scene("val", image.k)
        (meant,) = [k for k, own in enumerate(scene.masks(48)) if np.array_equal(own, mask)]
        known = (scene.objects[meant].colour, scene.objects[meant].shape, scene.objects[meant].texture, scene.objects[meant].size)
        assert set(example.fields["answers"]) & set(known), example.fields["question"]
    (caption,) = scene_examples("captioning", "val", 1, size=48)
    image = caption.fields["image"]
    first = image.world.scene("val", 0).objects[0]
    assert grounded(caption, "the") is None
    plural = grounded(caption, f"{first.colour},")
    assert plural is not None and plural.any()


def test_a_bundle_without_weights_says_what_it_lacks(braid: Braid, captioner: Path, photos: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "graphs"
    shutil.copytree(captioner / "best", bundle)
    (bundle / "model.safetensors").unlink()
    ran = braid("explain", photos / "0.png", "-m", bundle)
    assert (ran.code, ran.err) == (
        1,
        "error: an explanation looks inside the model, and this one runs on ONNX; it needs torch "
        f"({install_command('train')}) and model.safetensors in the model's folder\n",
    )
