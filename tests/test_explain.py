"""Every method explains every fusion and every kind of answer, and keeps its own axioms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch

from braid.collate import Collator
from braid.config import kinds
from braid.decoders import ClassesDecoderConfig, DecoderConfig
from braid.explain.attention_maps import record_attention
from braid.explain.attributions import InputAttribution, painted, subsets
from braid.explain.explaining import input_contributions
from braid.explain.grades import Chance, faithfulness, sensitivity, with_shuffled_weights
from braid.explain.methods import IntegratedGradients, Method, Occlusion, ShapleyValues
from braid.explain.methods.integrated_gradients import integrate
from braid.explain.subject import Labelled, NothingToExplain, Subject, subject_of
from braid.fusions import FusionConfig
from braid.modalities import ImageModalityConfig, LabelsModalityConfig, OutputModality
from braid.model import Model
from braid.presets import tiny
from braid.records import Features, Padded, Sample
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.tasks import Classification, Task, VisualQuestionAnswering
from variants import DECODERS, ENCODERS, FUSIONS, codecs_read, inputs, outputs, samples, samples_of, tokenizer

LABELS = ("few", "many", "none")
ANSWERS: dict[str, DecoderConfig] = {
    "text by attention": DECODERS["transformer"],
    "text by one state": DECODERS["recurrent gru initial"],
    "label": ClassesDecoderConfig(dropout=0.0),
    "label by attention": ClassesDecoderConfig(reads="attention", dropout=0.0),
}
QUICK = {"shapley": {"evaluations": 1}, "integrated_gradients": {"steps": 4}}
METHODS: dict[str, Method] = {kind: config(**QUICK.get(kind, {})) for kind, config in kinds(Method).items()}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def explained(
    fusion: FusionConfig | None = None,
    decoder: DecoderConfig = ANSWERS["text by attention"],
    sample: Sample | None = None,
    encoders: Mapping[str, Any] | None = None,
    image: ImageModalityConfig | None = None,
) -> Subject:
    """An answer of a tiny random model; of the first seed with which it says anything."""
    labels = isinstance(decoder, ClassesDecoderConfig)
    name, task = ("label", Classification()) if labels else ("text", VisualQuestionAnswering())
    chosen: Task = task  # type: ignore[assignment]
    base = tiny()
    config = replace(base, fusion=fusion or base.fusion, decoders={name: decoder}, encoders={**base.encoders, **(encoders or {})})
    config = replace(config, codecs=codecs_read(config.encoders))
    given: dict[str, OutputModality] = {"label": LabelsModalityConfig(labels=LABELS).build()} if labels else outputs()  # type: ignore[dict-item]
    read = {**inputs(config), **({"image": image.build()} if image else {})}
    for seed in range(30):
        torch.manual_seed(seed)
        runtime = TorchRuntime(config.build(read, given).eval(), tokenizer())
        try:
            return subject_of(runtime, Collator(read, given), chosen, sample or replace(samples_of(config)[0], targets={}))[0]
        except NothingToExplain:
            continue
    raise AssertionError("thirty random models said nothing")


@pytest.mark.parametrize("decoder", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=FUSIONS)
def test_every_method_explains_every_fusion_and_answer(fusion: FusionConfig, decoder: DecoderConfig) -> None:
    subject = explained(fusion, decoder)
    for kind, method in METHODS.items():
        values = method.attribute(subject).values
        assert {name: value.shape for name, value in values.items()} == {
            name: (subject.num_outputs, units.number) for name, units in subject.units.items()
        }, kind
        assert all(np.isfinite(value).all() for value in values.values()), kind
        if kind not in ("gradients", "grad_cam"):  # what speaks against an answer is zero to these
            assert any(value.any() for value in values.values()), kind


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if "borrowed" not in name and "efficientnet" not in name])
def test_every_encoder_says_where_its_positions_are(encoder: str) -> None:
    subject = explained(
        encoders={{"text": "prompt"}.get(ENCODERS[encoder].modality, ENCODERS[encoder].modality): ENCODERS[encoder]}
    )
    values = METHODS["gradients"].attribute(subject).values
    boxes = subject.units["image"].boxes
    assert boxes is not None
    cells = subject.units["image"].removable
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert areas[cells].sum() == pytest.approx(1, abs=1e-5)
    assert subject.units["prompt"].names == tuple(tokenizer().decode(tokenizer().encode(samples()[0].inputs["prompt"])).split())
    assert set(values) == set(subject.model.encoders)


@every_method
@pytest.mark.parametrize("lost", ["image", "prompt"])
def test_a_missing_input_is_no_part_of_an_explanation(method: Method, lost: str) -> None:
    sample = samples()[0]
    alone = replace(sample, inputs={name: value for name, value in sample.inputs.items() if name != lost}, targets={})
    values = method.attribute(explained(decoder=ANSWERS["label"], sample=alone)).values
    assert list(values) == [name for name in ("image", "prompt") if name != lost]


@every_method
def test_the_border_of_a_letterboxed_picture_gets_nothing(method: Method) -> None:
    wide = np.random.default_rng(0).integers(0, 255, (20, 80, 3), dtype=np.uint8)
    sample = replace(samples()[0], inputs={**samples()[0].inputs, "image": wide}, targets={})
    subject = explained(sample=sample, image=ImageModalityConfig(size=32, resize="pad"))
    boxes = subject.units["image"].boxes
    assert boxes is not None and len(boxes) == 8  # two rows of four hold the picture
    heat = painted(boxes, METHODS["occlusion"].attribute(subject).values["image"][0])
    assert not heat[0].any() and not heat[3].any()
    assert method.attribute(subject).values["image"].shape[1] == 8


def test_integrated_gradients_are_complete_and_captums() -> None:
    subject = explained()
    result = IntegratedGradients().attribute(subject)
    assert result.checks["completeness_gap"] < 0.02
    features = subject.features
    names = list(features)

    def forward(*values: torch.Tensor) -> torch.Tensor:
        rows = len(values[0])
        given = {
            name: Features(value, features[name].mask.expand(rows, -1), None) for name, value in zip(names, values, strict=True)
        }
        return subject.scores(given)

    ours = integrate(subject, 8)
    whole = tuple(features[name].values for name in names)
    for output in range(subject.num_outputs):
        theirs = captum.attr.IntegratedGradients(forward).attribute(
            whole, tuple(torch.zeros_like(value) for value in whole), target=output, n_steps=8, method="gausslegendre"
        )
        for name, part in zip(names, theirs, strict=True):
            mine = ours[name][output]
            assert torch.allclose(mine, part[0].detach().sum(-1).float() * features[name].mask[0], atol=1e-5)


def test_sampled_shapley_values_are_efficient_and_near_the_exact_ones() -> None:
    """Of two patches and a word, all subsets can be asked for; the rest of the picture is one more player that stays."""
    subject = explained(decoder=ANSWERS["label"])
    words = subject.units["prompt"]
    few = replace(words, names=words.names[:3], positions=words.positions[:3], spans=words.spans[:3])
    subject = replace(subject, units={"prompt": few})
    result = ShapleyValues(evaluations=600).attribute(subject)
    assert result.checks["efficiency_gap"] < 1e-5
    players = ("0", "1", "2")
    worth = {}
    for some in subsets(players):
        kept = np.array([[player in some for player in players]])
        worth[some] = subject.scored(subject.masked({"prompt": kept}))[0]
    from braid.explain.attributions import shapley

    exact = np.stack(list(shapley(worth, players).values()), 1)
    assert np.abs(result.values["prompt"] - exact).max() < 5 * result.checks["standard_error"] * np.abs(exact).mean() + 1e-3


def test_what_the_inputs_contribute_sums_to_the_change_of_the_probability() -> None:
    subject = explained()
    result, gap = input_contributions(subject)
    assert gap < 1e-9
    whole = subject.probabilities(subject.features)[0] - subject.probabilities(subject.without(["image", "prompt"]))[0]
    assert np.allclose(sum(result.values()), whole)


def test_recording_changes_no_answer_and_ends_with_its_block() -> None:
    for name in ("attention", "bottleneck", "transformer", "concat sequences"):
        for decoder in (ANSWERS["text by attention"], DECODERS["recurrent gru cross"], ANSWERS["label by attention"]):
            subject = explained(FUSIONS[name], decoder)
            before = subject.scored(subject.features)
            with record_attention(subject.model) as maps:
                recorded = subject.scored(subject.features)
            assert np.abs(before - recorded).max() < 1e-4
            assert maps
            for one in maps:
                sums = one.weights.sum(-1)
                assert ((sums - 1).abs().lt(1e-4) | sums.abs().lt(1e-4)).all(), one.name
            count = len(maps)
            with record_attention(subject.model) as outer:
                with record_attention(subject.model):
                    pass
                subject.scored(subject.features)
            assert len(outer) == count
            assert np.array_equal(subject.scored(subject.features), before)
            assert len(maps) == count


def blind(name: str) -> Subject:
    """A model whose fusion gets nothing of one input: its projection gives zeros."""
    subject = explained(FUSIONS["concat vectors"], ANSWERS["label"])
    projection = subject.model.projections[name]
    torch.nn.init.zeros_(projection.norm.weight)  # type: ignore[union-attr,arg-type]
    torch.nn.init.zeros_(projection.norm.bias)  # type: ignore[union-attr,arg-type]
    with torch.no_grad():
        return replace(subject, features=subject.model.encode(subject.batch))


@pytest.mark.parametrize("kind", sorted(METHODS.keys() - {"attention", "rollout"}))
@pytest.mark.parametrize("name", ["image", "prompt"])
def test_an_input_that_the_model_ignores_gets_nothing(kind: str, name: str) -> None:
    """Attention alone says where a model looks, also where it sees nothing."""
    method = METHODS[kind]
    values = method.attribute(blind(name)).values
    other = values["prompt" if name == "image" else "image"]
    assert np.abs(values[name]).max() < 1e-4 * max(1.0, float(np.abs(other).max()))


def test_a_left_out_word_is_really_gone_and_a_painted_patch_is_grey() -> None:
    subject = explained()
    units = subject.units["prompt"]
    kept = np.ones((2, units.number), dtype=bool)
    kept[1, 1:] = False
    given = {
        name: Padded(*map(np.asarray, (one.distinct.values, one.distinct.mask))) for name, one in subject.batch.inputs.items()
    }
    short = subject.modalities["prompt"].without(given["prompt"], units, kept)
    assert tokenizer().decode(short.values[1].tolist()) == units.names[0]
    patches = np.ones((1, subject.units["image"].number), dtype=bool)
    patches[0, 0] = False
    pixels = subject.modalities["image"].without(given["image"], subject.units["image"], patches).values[0]
    whole = given["image"].values[0]
    assert np.array_equal(pixels[:, 8:], whole[:, 8:])
    assert np.allclose(pixels[:, :8, :8].mean((1, 2)), whole.mean((1, 2)), atol=1e-5)


def planted(used: str) -> tuple[Model, list[Sample], Collator]:
    """A tiny classifier and rows in which one input alone decides. In training the other is dealt out anew each step, so that
    there is nothing to learn by heart, and whole inputs drop out."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(48):
        number = k % 2
        shade = (60 if number else 190) if used == "image" else int(rng.integers(60, 190))
        image = np.clip(rng.normal(shade, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        word = (("red", "blue")[number]) if used == "prompt" else ("red", "blue")[int(rng.integers(2))]
        rows.append(Sample(str(k), {"image": image, "prompt": f"is it {word}?"}, {"label": (LABELS[number],)}))
    collator = Collator(inputs(), {"label": LabelsModalityConfig(labels=LABELS[:2]).build()})
    torch.manual_seed(0)
    config = replace(tiny(), fusion=FUSIONS["concat vectors"], decoders={"label": ClassesDecoderConfig(dropout=0.0)})
    model = config.build(collator.inputs, collator.outputs)  # type: ignore[arg-type]
    batch = to_tensors(collator(rows, strict=True).batch, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 200)
    for _ in range(200):
        gone = {name: torch.rand(len(rows)) < 0.3 for name in batch.inputs}
        dealt = {name: one.index if name == used else one.index[torch.randperm(len(rows))] for name, one in batch.inputs.items()}
        kept = {name: replace(one, index=torch.where(gone[name], -1, dealt[name])) for name, one in batch.inputs.items()}
        loss = model.losses(replace(batch, inputs=kept), ["label"])["label"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), rows, collator


@pytest.mark.parametrize("used", ["image", "prompt"])
def test_a_planted_input_gets_nearly_all_of_the_share(used: str) -> None:
    model, rows, collator = planted(used)
    runtime = TorchRuntime(model, tokenizer())
    shares = []
    for row in rows[:12]:
        subject, prediction = subject_of(runtime, collator, Classification(), row)
        assert prediction.label == row.targets["label"][0]
        result, _ = input_contributions(subject)
        moved = {name: float(np.abs(value).sum()) for name, value in result.items()}
        shares.append(moved[used] / sum(moved.values()))
    assert np.mean(shares) >= 0.95


def test_grades_tell_a_true_map_from_chance_and_from_a_false_one() -> None:
    model, rows, collator = planted("prompt")
    runtime = TorchRuntime(model, tokenizer())
    subject, _ = subject_of(runtime, collator, Classification(), rows[0])
    values = Occlusion().attribute(subject).values["prompt"]
    (deletion,), (insertion,) = faithfulness(subject, "prompt", values, [[0]])
    (worse,), (less,) = faithfulness(subject, "prompt", -values, [[0]])
    assert deletion < worse and insertion > less
    by_chance = Chance().attribute(subject).values["prompt"]
    assert sensitivity(subject, Chance(), by_chance, "prompt") == pytest.approx(0)
    assert 0 <= sensitivity(subject, Occlusion(), values, "prompt") <= 1


def test_shuffled_weights_leave_the_model_and_the_answer_alone() -> None:
    subject = explained(decoder=ANSWERS["label"])
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    other = with_shuffled_weights(subject)
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())
    assert isinstance(other.answer, Labelled) and other.answer.words == subject.answer.words
    assert np.abs(other.scored(other.features) - subject.scored(subject.features)).max() > 1e-3
    for name, value in other.model.named_parameters():
        assert torch.equal(value.detach().flatten().sort().values, before[name].flatten().sort().values)


def test_heat_of_boxes_that_lie_over_each_other_adds_up() -> None:
    whole, quarter = [0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.0, 0.5]
    heat = painted(np.array([whole, quarter]), np.array([4.0, 3.0]))
    assert heat.shape == (2, 2)
    assert heat.tolist() == [[4.0, 16.0], [4.0, 4.0]]
    one = InputAttribution("image", ("a", "b"), np.array([[4.0, 3.0]]), np.array([whole, quarter]))
    assert np.array_equal(one.heat_map(0), heat)


@pytest.mark.parametrize(
    ("text", "words"),
    [("A red  circle.", ["a", "red", "circle"]), ("", []), ("naïve café", ["naïve", "café"]), ("红色圆", ["红", "色", "圆"])],
)
def test_words_are_what_their_tokens_spell(text: str, words: list[str]) -> None:
    tokens = tokenizer().framed(text, 32)
    spans = tokenizer().words(tokens)
    assert [tokenizer().decode(tokens[first : last + 1]) for first, last in spans] == words
    covered = [place for first, last in spans for place in range(first, last + 1)]
    assert covered == list(range(1, len(tokens) - 1))
