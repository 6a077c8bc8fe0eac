"""What each fusion says of itself, beyond the contracts: weights, neutral elements, bottlenecks, who modulates whom."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from braid.errors import UserError
from braid.fusions import (
    BilinearFusionConfig,
    BottleneckFusionConfig,
    CoAttentionFusionConfig,
    FilmFusionConfig,
    FusionConfig,
    GatedFusionConfig,
    LateFusionConfig,
    WeightedFusionConfig,
)
from braid.layers.context import BuildContext
from braid.records import Features, Fused
from variants import FUSIONS

WIDTH, ROWS = 32, 4
LENGTHS = {"image": 6, "prompt": 3, "sound": 5}


def built(config: FusionConfig, inputs: Sequence[str] = ("image", "prompt")) -> nn.Module:
    torch.manual_seed(0)
    return config.build(BuildContext(encoders=tuple(inputs), width=WIDTH)).eval()


def features(inputs: Sequence[str] = ("image", "prompt"), lost: Sequence[str] = (), seed: int = 1) -> dict[str, Features]:
    """Random features; row 0 of each input in ``lost`` lacks it, and the last position of row 1 is always padding."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name in inputs:
        mask = torch.ones(ROWS, LENGTHS[name], dtype=torch.bool)
        mask[1, -1] = False
        mask[0] = name not in lost
        result[name] = Features(torch.randn(ROWS, LENGTHS[name], WIDTH, generator=generator), mask)
    return result


def changed(given: dict[str, Features], name: str) -> dict[str, Features]:
    """Another value of one input."""
    return {**given, name: Features(given[name].values.flip(-1), given[name].mask)}


@pytest.mark.parametrize("config", FUSIONS.values(), ids=FUSIONS)
@pytest.mark.parametrize("inputs", [("image",), ("image", "prompt", "sound")], ids=["one input", "three inputs"])
def test_any_number_of_inputs(config: FusionConfig, inputs: Sequence[str]) -> None:
    fusion = built(config, inputs)
    given = features(inputs)
    with torch.no_grad():
        fused: Fused = fusion(given)
        assert fused.values.shape[2] == fusion.width == fused.pooled.shape[1]
        assert fused.mask.any(1).all()
        for name in inputs:
            assert not torch.allclose(fusion(changed(given, name)).values, fused.values), name
        nothing: Fused = fusion({name: Features(f.values, torch.zeros_like(f.mask)) for name, f in given.items()})
    assert not nothing.mask.any()
    assert torch.isfinite(nothing.pooled).all()


@pytest.mark.parametrize(
    "config", [GatedFusionConfig(), LateFusionConfig(), WeightedFusionConfig()], ids=["gated", "late", "weighted"]
)
def test_weights_are_shares_of_the_inputs_that_a_row_has(config: FusionConfig) -> None:
    with torch.no_grad():
        weights = built(config)(features(lost=["prompt"])).weights
    assert list(weights) == ["image", "prompt"]
    assert weights["prompt"][0] == 0
    assert torch.allclose(weights["image"] + weights["prompt"], torch.ones(ROWS))
    assert all((weight[1:] > 0.05).all() for weight in weights.values())


def test_a_gate_shuts_dimensions_and_not_inputs() -> None:
    """Shut in half of the dimensions, an input still has the other half, and its weight says so."""
    fusion = built(GatedFusionConfig())
    with torch.no_grad():
        fusion.gates.weight.zero_()
        fusion.gates.bias.copy_(torch.cat([torch.full((WIDTH // 2,), -30.0), torch.full((WIDTH // 2 + WIDTH,), 30.0)]))
        given = features()
        fused, other = fusion(given), fusion(changed(given, "image"))
    assert torch.allclose(fused.weights["image"], torch.full((ROWS,), 1 / 3))
    assert torch.allclose(fused.values[..., : WIDTH // 2], other.values[..., : WIDTH // 2])
    assert not torch.isclose(fused.values[..., WIDTH // 2 :], other.values[..., WIDTH // 2 :]).any()


@pytest.mark.parametrize(("condition", "modulated"), [("", "image"), ("prompt", "image"), ("image", "prompt")])
def test_film_keeps_the_modulated_sequence_and_reads_the_other_only_where_it_is_alone(condition: str, modulated: str) -> None:
    fusion = built(FilmFusionConfig(condition=condition, dropout=0.0))
    with torch.no_grad():
        fused = fusion(features(lost=[modulated]))
    other = "prompt" if modulated == "image" else "image"
    real = {name: fused.mask[:, slice(*fused.spans[name])] for name in LENGTHS if name in fused.spans}
    assert real[modulated][:2].tolist() == [[False] * LENGTHS[modulated], [True] * (LENGTHS[modulated] - 1) + [False]]
    assert real[other][0].all() and not real[other][1:].any()


def test_film_without_the_modulating_input_neither_scales_nor_shifts() -> None:
    fusion = built(FilmFusionConfig(dropout=0.0))
    given = features(lost=["prompt"])
    with torch.no_grad():
        before = fusion(given).values[:, : LENGTHS["image"]]
        nn.init.normal_(fusion.modulation.weight)
        nn.init.normal_(fusion.modulation.bias)
        after = fusion(given).values[:, : LENGTHS["image"]]
    assert torch.equal(before[0], after[0])
    assert not torch.isclose(before[1:], after[1:]).all(-1).any()


def test_film_by_no_input_names_those_there_are() -> None:
    with pytest.raises(UserError) as caught:
        FilmFusionConfig(condition="promt").build(BuildContext(encoders=("image", "prompt")))
    assert str(caught.value) == (
        "condition is 'promt', which is not an input of the model; choose from image, prompt (did you mean 'prompt'?)"
    )


@pytest.mark.parametrize("factor", [1, 5], ids=["MLB", "MFB"])
def test_bilinear_takes_a_missing_input_for_ones(factor: int) -> None:
    """So a row that lacks an input is fused as a model without that input fuses it, and both inputs matter to the other rows."""
    fusion = built(BilinearFusionConfig(factor=factor, dropout=0.0))
    alone = built(BilinearFusionConfig(factor=factor, dropout=0.0), ["image"])
    alone.load_state_dict({name: value for name, value in fusion.state_dict().items() if "prompt" not in name})
    given = features(lost=["prompt"])
    with torch.no_grad():
        both, single = fusion(given).values, alone({"image": given["image"]}).values
    assert torch.allclose(both[0], single[0], atol=1e-6)
    assert not torch.isclose(both[1:], single[1:]).all()


def test_factorised_bilinear_follows_its_formula() -> None:
    fusion = built(BilinearFusionConfig(factor=3, dropout=0.0))
    given = features()
    with torch.no_grad():
        nn.init.eye_(fusion.output.weight)
        nn.init.zeros_(fusion.output.bias)
        result = fusion(given).pooled[2]
        one, other = (fusion.factors[name](given[name].values[2].mean(0)) for name in ("image", "prompt"))
    sums = (one * other).view(WIDTH, 3).sum(1)
    roots = sums.sign() * sums.abs().sqrt()
    assert torch.allclose(result / WIDTH**0.5, roots / roots.norm(), atol=5e-3)


def test_the_root_of_nothing_has_a_finite_slope() -> None:
    fusion = built(BilinearFusionConfig(factor=2, dropout=0.0))
    nn.init.zeros_(fusion.factors["image"].weight)
    nn.init.zeros_(fusion.factors["image"].bias)
    fusion(features()).pooled.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters() if parameter.grad is not None)


def test_co_attention_turns_to_the_positions_that_both_know() -> None:
    """What comes out of an input is a mean of its own features; what it is a mean of, the other input has a say in."""
    fusion = built(CoAttentionFusionConfig())
    given = features()
    with torch.no_grad():
        image = fusion(given).values[2, 0] - fusion.marks["image"]
        message = fusion(changed(given, "prompt")).values[2, 0] - fusion.marks["image"]
    weights = torch.linalg.lstsq(given["image"].values[2].T, torch.stack([image, message], 1)).solution
    assert torch.allclose(given["image"].values[2].T @ weights, torch.stack([image, message], 1), atol=1e-5)
    assert (weights > 0).all()
    assert torch.allclose(weights.sum(0), torch.ones(2), atol=1e-5)
    assert (weights[:, 0] - weights[:, 1]).abs().max() > 1e-3


def test_inputs_meet_in_the_bottlenecks_alone() -> None:
    """An input hears of the other through the bottleneck tokens; with those cut off it hears nothing."""
    fusion = built(BottleneckFusionConfig(heads=2, dropout=0.0))
    given = features()
    torch.manual_seed(3)
    for parameter in fusion.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)  # past the beginning, where every block is the identity

    def image(inputs: dict[str, Features]) -> torch.Tensor:
        with torch.no_grad():
            return fusion(inputs).values[:, : LENGTHS["image"]]

    other = changed(given, "prompt")
    assert (image(given) - image(other)).abs().max() > 1e-3
    last, tokens = fusion.blocks[-1]["image"], fusion.bottlenecks.shape[0]
    last.register_forward_pre_hook(lambda _, sent: (torch.cat([sent[0][:, :-tokens], 0 * sent[0][:, -tokens:]], 1), sent[1]))
    assert torch.equal(image(given), image(other))


def test_a_bottleneck_of_one_block_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        BottleneckFusionConfig(depth=1)
    assert str(caught.value) == "depth is 1; it must be at least 2"


def test_late_fusion_lets_no_input_touch_another() -> None:
    fusion = built(LateFusionConfig())
    given = features(lost=["prompt"])
    with torch.no_grad():
        fused, other = fusion(given), fusion(changed(given, "prompt"))
    assert fused.spans == {"image": (0, 1), "prompt": (1, 2)}
    assert fused.mask.tolist() == [[True, False], *[[True, True]] * (ROWS - 1)]
    assert torch.equal(fused.values[:, 0], other.values[:, 0])
    assert all(torch.equal(fused.weights[name], other.weights[name]) for name in fused.weights)
    assert fused.weights["image"].tolist() == [1.0, *[0.5] * (ROWS - 1)]
    assert torch.allclose(fused.pooled[0], fused.values[0, 0])
