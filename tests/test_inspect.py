"""A model described from its files alone, as a table and as a diagram; runs that have no bundle yet, too."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import variants
from braid.bundle import write_bundle
from braid.config import to_dict
from braid.reports import Description, Part, describe, flowchart
from conftest import Ran

Braid = Callable[..., Ran]
NODE = re.compile(r'^    (\w+)(\(\[|\[|\{\{)"([^"]*)"(\]\)|\]|\}\})(:::\w+)$')
CLOSING = {"([": "])", "[": "]", "{{": "}}"}


def generated(source: str) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Node -> label, and the arrows; fails on anything that Mermaid could misread."""
    first, *lines = source.splitlines()
    assert first == "flowchart LR"
    nodes: dict[str, str] = {}
    arrows: set[tuple[str, str]] = set()
    for line in lines:
        if line.startswith("    classDef "):
            assert re.fullmatch(r"    classDef \w+ fill:#\w{6},stroke:#\w{6},color:#\w{6}", line)
        elif "-->" in line:
            ends = [end.strip() for end in line.split("-->")]
            arrows |= set(pairwise(ends))
        else:
            result = NODE.match(line)
            assert result, line
            assert result[4] == CLOSING[result[2]]
            assert result[1] not in nodes, f"{result[1]} is defined twice"
            nodes[result[1]] = result[3]
            plain = re.sub(r"<br/>|</?b>|#\d+;", "", result[3])
            assert not re.search(r"[^\w ,.]|_", plain), plain
    assert {end for arrow in arrows for end in arrow} == set(nodes)
    return nodes, arrows


@pytest.mark.parametrize("name", variants.variants())
def test_every_variant_can_be_drawn(name: str, tmp_path: Path) -> None:
    config = variants.variants()[name]
    model = variants.build(config)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    write_bundle(tmp_path / "model", variants.interface(config), {"tokenizer": variants.tokenizer()}, to_dict(config), weights)
    result = describe(tmp_path / "model")
    assert result.parameters == sum(int(np.prod(value.shape)) for value in model.state_dict().values())
    for part in result.parts:
        assert part.parameters == sum(v.numel() for v in model.get_submodule(part.name).state_dict().values())
    nodes, arrows = generated(flowchart(result))
    assert set(nodes) == {
        *(f"{part}{place}" for place in range(len(config.encoders)) for part in ("input", "encoder", "projection")),
        "fusion",
        "decoder0",
        "output0",
        *(["codec1"] if config.codecs else []),
    }
    assert ("codec1", "encoder0") in arrows or not config.codecs
    assert ("projection1", "fusion") in arrows
    assert ("fusion", "decoder0") in arrows
    for k, encoder in enumerate(config.encoders.values()):
        assert f"<b>{encoder.kind.replace('_', '#95;')} encoder</b>" in nodes[f"encoder{k}"]
    assert f"<b>{config.fusion.kind.replace('_', '#95;')} fusion</b>" in nodes["fusion"]


def test_no_name_can_break_a_diagram() -> None:
    names = ['end"]; x --> y', "a<b> & c", "1. one", "__b__ `c` #1;", "subgraph", "日本", "- %% {}|()\n"]
    parts = [Part(f"encoders.{name}", "vit", {"padding": 'a"b'}, 10) for name in names]
    parts += [Part(f"projections.{name}", "linear", {"reads": 3, "width": 4}, 1_234_567) for name in names]
    parts += [Part("fusion", "concat", {"over": "<script>"}, 3), Part("decoders.end", "recurrent", {}, 5)]
    text, image = {"kind": "text", "max_length": 3}, {"kind": "image", "size": 3}
    nodes, _ = generated(flowchart(Description(Path(), tuple(parts), dict.fromkeys(names, image), {"end": text}, {})))
    assert nodes["input0"] == "<b>end#34;#93;#59; x #45;#45;#62; y</b><br/>image<br/>size 3"
    assert nodes["projection0"] == "<b>linear projection</b><br/>reads 3<br/>width 4<br/>1.23 M parameters"
    assert nodes["fusion"] == "<b>concat fusion</b><br/>over #60;script#62;<br/>3 parameters"


@pytest.mark.parametrize("name", ["small", "sentiment", "sounds", "speech", "imagine"])
def test_a_built_in_model_is_shown_with_every_output(name: str, braid: Braid) -> None:
    ran = braid("inspect", name)
    assert ran.code == 0, ran.err
    described = describe(name)
    assert all(f"out: {output}" in ran.out for output in described.outputs)
    assert ("labels" in ran.out) == (name not in ("speech", "imagine"))


def test_the_verb_prints_the_diagram_alone(braid: Braid, captioner: Path) -> None:
    ran = braid("inspect", captioner, "--mermaid")
    assert ran.code == 0, ran.err
    nodes, _ = generated(ran.out)
    assert nodes["input0"] == "<b>image</b><br/>size 32"
    assert json.loads(braid("inspect", captioner, "--mermaid", "--json").out)["mermaid"] + "\n" == ran.out


def test_an_onnx_bundle_has_no_parts_to_draw(braid: Braid, captioner: Path, tmp_path: Path) -> None:
    shutil.copytree(captioner / "best", tmp_path / "model", ignore=shutil.ignore_patterns("model.*"))
    assert braid("inspect", tmp_path / "model").code == 0
    ran = braid("inspect", tmp_path / "model", "--mermaid")
    message = f"error: {tmp_path / 'model'} has no model.json; it runs on ONNX only, and there are no parts to draw\n"
    assert (ran.code, ran.err) == (1, message)


def test_a_run_before_the_end_of_its_first_epoch_is_shown_by_its_checkpoint(
    braid: Braid, captioner: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.yaml", "checkpoint.safetensors"):
        shutil.copy(captioner / name, run / name)
    whole = json.loads(braid("inspect", captioner, "--json").out)
    ran = braid("inspect", run, "--json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["parts"] == whole["parts"]
    assert result["parameters"] == whole["parameters"]
    table = braid("inspect", run)
    assert (table.code, "attention" in table.out, "up to 40 tokens" in table.out) == (0, True, True)
    assert braid("inspect", run, "--mermaid").out == braid("inspect", captioner, "--mermaid").out
    (run / "checkpoint.safetensors").unlink()
    ran = braid("inspect", run)
    message = f"error: {run} has no checkpoint.safetensors yet; wait for the run's first checkpoint, or start it again\n"
    assert (ran.code, ran.err) == (1, message)


def test_an_old_file_says_what_its_names_are_now() -> None:
    from braid.bundle import DataCard
    from braid.config import from_dict
    from braid.errors import UserError
    from braid.training import run_from

    with pytest.raises(UserError) as caught:
        from_dict(DataCard, {"scores": {"cider": 73.2, "cider-d": 61.5}}, "interface.json: card")
    assert str(caught.value) == (
        "interface.json: card was written for an earlier version of Braid; "
        "rename scores.cider to cider-2015, scores.cider-d to cider"
    )
    run = {"task": "captioning", "data": {"path": "scenes:captioning"}, "model": "tiny", "augmentation": {}}
    with pytest.raises(UserError, match=r"earlier version of Braid; rename augmentation to inputs\.image\.augmentation"):
        run_from(run)
    with pytest.raises(UserError, match=r"no setting 'nmae'"):
        from_dict(DataCard, {"nmae": "x", "scores": {"cider": 61.5}}, "card")
