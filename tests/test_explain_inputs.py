"""Explanations ask no modality: a photo, a text, a row of a table, and a modality that is defined in this file."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from braid.collate import Collator
from braid.config import kinds
from braid.decoders import ClassesDecoderConfig
from braid.encoders import FTTransformerEncoderConfig, MLPEncoderConfig
from braid.explain import Explanation
from braid.explain.audit import audit
from braid.explain.explaining import explain
from braid.explain.methods import Method, Occlusion
from braid.explain.subject import subject_of
from braid.fusions import ConcatFusionConfig
from braid.modalities import LabelsModalityConfig, TabularModalityConfig
from braid.modalities.tabular import CategoryColumn, NumberColumn
from braid.presets import tiny
from braid.records import Example, Features, Padded, Sample, Units, View
from braid.runtime.torch import TorchRuntime, to_tensors
from braid.tasks import Classification
from variants import inputs, samples, tokenizer

LABELS = LabelsModalityConfig(labels=("few", "many"))
TABLE = TabularModalityConfig(
    table=(
        NumberColumn("price", mean=10.0, std=4.0),
        CategoryColumn("brand <b>", categories=("Acme", "Zeta")),
        NumberColumn("weight", mean=1.0, std=0.5),
    )
)
ROW = {"price": 14.0, "brand <b>": "Acme & Sons", "weight": None}


@dataclass(frozen=True)
class SeriesModalityConfig:
    """A few numbers in order."""

    kind: Literal["series"] = "series"

    columns: ClassVar[tuple[str, ...]] = ("series",)
    suffixes: ClassVar[frozenset[str]] = frozenset()
    input_name: ClassVar[str] = "series"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    def build(self, tokenizer: Any = None) -> "SeriesModality":
        return SeriesModality(self)

    @staticmethod
    def key(value: Any) -> Hashable:
        return tuple(value)

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        return View(" ".join(map(str, value)))

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> list[float]:
        return [float(rng.normal()) for _ in value]


class SeriesModality:
    augments: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def __init__(self, config: SeriesModalityConfig) -> None:
        self.config = config

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> np.ndarray:
        return np.asarray(value, np.float32)

    def pad(self, values: Sequence[np.ndarray]) -> Padded:
        longest = max(map(len, values))
        mask = np.array([[k < len(value) for k in range(longest)] for value in values])
        return Padded(np.stack([np.pad(value, (0, longest - len(value))) for value in values]), mask)

    def units(self, given: Padded, real: np.ndarray, extent: np.ndarray | None) -> Units:
        places = np.flatnonzero(real)
        names = tuple(f"{given.values[0, place]:g}" for place in places)
        return Units(names, np.eye(len(real), dtype=bool)[places], kind="steps")

    def without(self, given: Padded, units: Units, kept: np.ndarray) -> Padded:
        return Padded(np.repeat(given.values[:1], len(kept), 0), given.mask[:1] & kept)

    def canvas(self, value: Any, source: str, size: int) -> None:
        return None

    def missing(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def example(self) -> tuple[Padded, bool]:
        return self.pad([np.zeros(4, np.float32)] * 3), True

    def size_of(self, value: Any) -> int:
        return len(value)


@dataclass(frozen=True)
class SeriesEncoderConfig:
    kind: Literal["series"] = "series"
    modality: ClassVar[str] = "series"

    def build(self, context: Any) -> nn.Module:
        return SeriesEncoder()


class SeriesEncoder(nn.Module):
    width = 8

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, self.width)

    def forward(self, given: Padded) -> Features:
        return Features(self.linear(given.values.unsqueeze(-1)).tanh(), given.mask)


def build(encoder: Any, seed: int = 0) -> tuple[TorchRuntime, Collator]:
    """A classifier of a photo, a text, a row and a series, with random weights."""
    base = tiny()
    read: dict[str, Any] = {**inputs(), "tabular": TABLE.build(), "series": SeriesModalityConfig().build()}
    given: dict[str, Any] = {"label": LABELS.build()}
    encoders: dict[str, Any] = {**base.encoders, "tabular": encoder, "series": SeriesEncoderConfig()}
    config = replace(base, encoders=encoders, fusion=ConcatFusionConfig(), decoders={"label": ClassesDecoderConfig(dropout=0.0)})
    torch.manual_seed(seed)
    return TorchRuntime(config.build(read, given).eval(), tokenizer()), Collator(read, given)


def sample() -> Sample:
    return replace(samples()[0], inputs={**samples()[0].inputs, "tabular": ROW, "series": [0.5, -1.0, 2.0]}, targets={})


def explained(encoder: Any, method: str = "") -> Explanation:
    return explain(*build(encoder), Classification(), sample(), method)  # type: ignore[arg-type]


ONE_VECTOR = MLPEncoderConfig(width=16, depth=1, category_width=4, dropout=0.0)
A_TOKEN_A_COLUMN = FTTransformerEncoderConfig(width=16, depth=1, heads=2, dropout=0.0)


def test_units_of_any_kind_are_named_and_scored() -> None:
    result = explained(A_TOKEN_A_COLUMN)
    told = result.to_dict()
    assert result.method == "gradients" and not result.notes
    assert len(told["inputs"]["image"]["boxes"]) == 16
    assert told["inputs"]["prompt"]["words"] == samples()[0].inputs["prompt"].rstrip("?").split() or told["inputs"]["prompt"]
    assert told["inputs"]["tabular"] == {"columns": ["price", "brand <b>", "weight"]}
    assert told["inputs"]["series"] == {"steps": ["0.5", "-1", "2"]}
    assert {name: len(scores) for name, scores in told["outputs"][0]["attributions"].items()} == {
        name: len(next(iter(units.values()))) for name, units in told["inputs"].items()
    }
    assert set(told["shares"]) == {"image", "prompt", "tabular", "series"}


def test_columns_of_one_vector_are_told_apart_by_changing_the_row() -> None:
    result = explained(ONE_VECTOR)
    assert result.method == "occlusion"
    for method in ("occlusion", "shapley"):
        result = explained(ONE_VECTOR, method)
        (price, brand, weight) = next(one for one in result.inputs if one.name == "tabular").values[0]
        assert price != brand and abs(weight) < 1e-6 and not result.notes  # a missing cell has nothing to say
    assert result.checks["efficiency_gap"] < 1e-4


@pytest.mark.parametrize("method", ["integrated_gradients", "gradients"])
def test_a_method_that_cannot_tell_columns_apart_says_so(method: str) -> None:
    result = explained(ONE_VECTOR, method)
    values = next(one for one in result.inputs if one.name == "tabular").values
    assert np.ptp(values) == 0
    assert result.notes == (
        f"{method} gives all columns of tabular one score, because the encoder of tabular gives one vector for all of them; "
        "choose occlusion or shapley to tell them apart",
    )
    assert result.notes[0] in result._repr_html_()
    assert not explained(A_TOKEN_A_COLUMN, method).notes


@pytest.mark.parametrize("encoder", [ONE_VECTOR, A_TOKEN_A_COLUMN], ids=["mlp", "ft_transformer"])
def test_every_method_scores_every_unit(encoder: Any) -> None:
    runtime, collator = build(encoder)
    subject, _ = subject_of(runtime, collator, Classification(), sample())
    for kind, method in kinds(Method).items():
        values = method().attribute(subject).values
        assert {name: value.shape[1] for name, value in values.items()} == {n: u.number for n, u in subject.units.items()}, kind
        assert all(np.isfinite(value).all() for value in values.values()), kind


def test_the_page_and_the_image_show_every_input(tmp_path: Path) -> None:
    result = explained(ONE_VECTOR)
    page = result._repr_html_()
    assert page.count("<tr><th>price</th><td>14</td>") == 2  # beside the inputs, and with its effect on the label
    assert "brand &lt;b&gt;" in page and "Acme &amp; Sons" in page and "<b>brand" not in page
    assert page.count("<i>missing</i>") == 2
    assert page.count('class="bar both"') == 3
    assert re.search(r'<p class="words">0.5 -1 2</p>', page)
    result.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as image:
        assert image.height > 300 and len(image.convert("RGB").getcolors(1 << 20) or []) > 50


def test_many_columns_show_the_strongest_and_count_the_rest(tmp_path: Path) -> None:
    one = replace(next(one for one in explained(ONE_VECTOR).inputs if one.name == "tabular"))
    names = tuple(f"c{k}" for k in range(40))
    wide = replace(one, units=names, values=np.arange(40.0)[None] - 12, view=View(cells=dict.fromkeys(names, "7")))
    assert wide.strongest(3) == [37, 38, 39]
    result = replace(explained(ONE_VECTOR), inputs=(wide,), contributions=np.ones((1, 1)))
    page = result._repr_html_()
    assert page.count("<tr>") == 32 and page.count("and 24 weaker columns") == 2
    result.save(tmp_path / "why.png")


def test_a_column_that_decides_gets_the_score() -> None:
    rng = np.random.default_rng(0)
    rows = [{"price": float(rng.normal(10, 4)), "brand <b>": "Acme", "weight": float(rng.normal(1, 0.5))} for _ in range(64)]
    given: dict[str, Any] = {"label": LABELS.build()}
    collator = Collator({"tabular": replace(TABLE, column_dropout=0.0).build()}, given)
    planted = [
        Sample(str(k), {"tabular": row}, {"label": (LABELS.labels[int(row["price"] > 10)],)})  # type: ignore[operator]
        for k, row in enumerate(rows)
    ]
    config = replace(
        tiny(), encoders={"tabular": ONE_VECTOR}, fusion=ConcatFusionConfig(), decoders={"label": ClassesDecoderConfig()}
    )
    torch.manual_seed(0)
    model = config.build(collator.inputs, collator.outputs)  # type: ignore[arg-type]
    batch = to_tensors(collator(planted, strict=True).batch, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        model.losses(batch, ["label"])["label"].backward()
        optimizer.step()
    runtime = TorchRuntime(model.eval(), tokenizer())
    strengths = []
    for row in planted[:10]:
        subject, _ = subject_of(runtime, collator, Classification(), row)
        strengths.append(np.abs(Occlusion().attribute(subject).values["tabular"][0]))
    price, brand, weight = np.mean(strengths, 0)
    assert price > 3 * max(brand, weight)


def test_an_audit_reports_every_input() -> None:
    runtime, collator = build(ONE_VECTOR)
    examples = [
        Example(
            str(k),
            {"image": one.inputs["image"], "text": one.inputs["prompt"], "tabular": {**ROW, "price": 3.0 * k}, "label": label},
        )
        for k, (one, label) in enumerate(zip(samples(), ("few", "many") * 4, strict=True))
    ]
    result = audit(runtime, collator, Classification(), examples)
    assert [one.input for one in result.inputs] == ["image", "prompt", "tabular"]
    assert sum(one.share for one in result.inputs) == pytest.approx(1, abs=1e-6)
    assert all(0 <= one.metric_corrupted <= 100 for one in result.inputs)
