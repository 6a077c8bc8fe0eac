"""A modality that is defined here alone: trained beside text and image, explained, audited, exported and served."""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import nn

import braid
from braid import config
from braid.bundle import read_bundle
from braid.datasets import open_dataset
from braid.encoders import EncoderConfig
from braid.errors import UserError
from braid.explain import audit
from braid.layers.context import BuildContext
from braid.modalities import InputModalityConfig
from braid.records import Features, Padded, Units, View
from braid.runtime.export import export
from braid.server import Access, Limits
from braid.server.app import application
from braid.server.endpoints import Service
from braid.server.guard import Metrics
from braid.server.models import open_catalogue
from braid.server.uploads import Uploads
from braid.training import run_from, train
from conftest import shapes_unchecked
from served import data_uri

LENGTH = 6


@dataclass(frozen=True)
class SignalModalityConfig:
    """A short sequence of numbers, at most ``length``."""

    kind: Literal["signal"] = "signal"
    length: int = LENGTH

    columns: ClassVar[tuple[str, ...]] = ("signal", "series")
    suffixes: ClassVar[frozenset[str]] = frozenset()
    input_name: ClassVar[str] = "signal"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    def build(self, tokenizer: object = None) -> "SignalModality":
        return SignalModality(self)

    def fitted(self, values: Iterable[Any], several: bool = False) -> "SignalModalityConfig":
        return self

    def cheaper(self) -> "SignalModalityConfig":
        return self

    def augmenting(self) -> "SignalModalityConfig":
        return self

    def in_use(self) -> "SignalModalityConfig":
        return self

    def summary(self) -> str:
        return f"up to {self.length} numbers"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "signal", "type": "text"}]

    @staticmethod
    def key(value: Any) -> Hashable:
        return tuple(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> list[float]:
        (value,) = cells.values()
        return SignalModalityConfig.from_json(json.loads(value) if isinstance(value, str) else value)

    @staticmethod
    def from_json(value: Any) -> list[float]:
        if not isinstance(value, list):
            raise UserError(f"expected a list of numbers, found {type(value).__name__}")
        return [float(one) for one in value]

    @staticmethod
    def parse(text: str) -> list[float]:
        return [float(part) for part in text.split()]

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        return json.dumps(value).encode(), ".json"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        return View(" ".join(f"{one:g}" for one in value))

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> list[float]:
        return [float(one) for one in rng.permutation(value)]


class SignalModality:
    """Numbers -> ``values [n, longest]`` float32 with a mask."""

    shared: ClassVar[bool] = True
    augments: ClassVar[bool] = False

    def __init__(self, config: SignalModalityConfig) -> None:
        self.config = config

    def prepare(self, value: Any, source: str = "", rng: np.random.Generator | None = None) -> np.ndarray:
        return np.array(value, np.float32)[: self.config.length]

    def pad(self, values: Sequence[np.ndarray]) -> Padded:
        longest = max(map(len, values))
        padded, mask = np.zeros((len(values), longest), np.float32), np.zeros((len(values), longest), bool)
        for row, value in enumerate(values):
            padded[row, : len(value)], mask[row, : len(value)] = value, True
        return Padded(padded, mask)

    def missing(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def example(self) -> tuple[Padded, bool]:
        return Padded(np.zeros((3, 5), np.float32), np.ones((3, 5), bool)), True

    def size_of(self, value: Any) -> int:
        return len(value)

    def units(self, given: Padded, real: np.ndarray, extent: np.ndarray | None) -> Units:
        places = np.flatnonzero(real)
        return Units(tuple(f"number {place + 1}" for place in places), np.eye(len(real), dtype=bool)[places])

    def without(self, given: Padded, units: Units, kept: np.ndarray) -> Padded:
        values = given.values[0][given.mask[0]]
        return Padded(np.repeat(values[None], len(kept), 0), kept)

    def canvas(self, value: Any, source: str, size: int) -> None:
        return None


@dataclass(frozen=True)
class SignalEncoderConfig:
    """A vector a number."""

    kind: Literal["signal"] = "signal"
    width: int = 32

    modality: ClassVar[str] = "signal"

    def build(self, context: BuildContext) -> "SignalEncoder":
        return SignalEncoder(self.width)


class SignalEncoder(nn.Module):
    """Each number through two layers; what is masked does not count."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, inputs: Padded) -> Features:
        return Features(self.layers((inputs.values * inputs.mask).unsqueeze(-1)), inputs.mask)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A classifier whose label is the sign of the series; photo and text say nothing."""
    config.add_kind(InputModalityConfig, SignalModalityConfig)
    config.add_kind(EncoderConfig, SignalEncoderConfig)
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(0)
    rows = []
    for row in range(48):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{row}.png")
        series = (rng.uniform(0.5, 1.5, 2 + row % 5) * (1 if row % 2 else -1)).round(2).tolist()
        label = "up" if row % 2 else "down"
        split = "val" if row >= 36 else "train"
        rows.append({"image": f"{row}.png", "text": f"row {row}", "signal": series, "label": label, "split": split})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "task": "classification",
        "data": {"path": str(folder / "rows.jsonl")},
        "model": "tiny",
        "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text"}, "signal": {"kind": "signal"}},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 5},
        "objective": {"kind": "likelihood", "input_weights": {}},  # what says nothing is not to be learned alone
        "input_dropout": {},
        "epochs": 6,
        "batch_size": 12,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
    }
    train(run_from(settings), folder / "run")
    yield folder
    config.remove_kind(InputModalityConfig, SignalModalityConfig)
    config.remove_kind(EncoderConfig, SignalEncoderConfig)


def test_it_is_trained_beside_text_and_image(model: Path) -> None:
    bundle = read_bundle(model / "run" / "best")
    assert set(bundle.interface.inputs) == {"image", "prompt", "signal"}
    rows = open_dataset(model / "rows.jsonl").split("val")
    loaded = braid.load(model / "run")
    answers = loaded.predict("classification", rows)
    assert loaded.task("classification").score(answers.predictions, answers.samples)["accuracy"] == 100


def test_it_is_explained_and_audited(model: Path) -> None:
    loaded = braid.load(model / "run", runtime="torch")
    explanation = loaded.explain(model / "1.png", text="row 1", signal=[1.0, 0.8, 1.2])
    assert explanation.answer == "up"
    (signal,) = [one for one in explanation.inputs if one.name == "signal"]
    assert signal.units == ("number 1", "number 2", "number 3")
    assert max(explanation.shares, key=lambda name: explanation.shares[name]) == "signal"
    assert "number 2" in explanation._repr_html_()
    result = audit(
        loaded.runtime, loaded.collator, loaded.task("classification"), open_dataset(model / "rows.jsonl").split("val")
    )
    assert set(result.ignored) == {"image", "prompt"}


def test_its_graphs_answer_as_torch_does(model: Path) -> None:
    bundle = read_bundle(model / "run" / "best")
    with shapes_unchecked():
        export(bundle, bundle.folder)
    rows = open_dataset(model / "rows.jsonl").split("val")
    torch_answers, onnx_answers = (
        braid.load(bundle.folder, runtime=name).predict("classification", rows).predictions for name in ("torch", "onnx")
    )
    for one, other in zip(torch_answers, onnx_answers, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
    alone = braid.load(bundle.folder, runtime="onnx").classify(signal=[-1.0, -0.7])
    assert alone.label == "down"


def test_it_is_served(model: Path) -> None:
    limits, monitoring = Limits(), Metrics()
    catalogue = open_catalogue([str(model / "run")], None, limits, monitoring)
    service = Service(catalogue, Uploads(10**6, lambda url: b""), limits, monitoring)
    body = {"image": data_uri((model / "3.png").read_bytes()), "text": "row 3", "signal": [-0.9, -1.1]}
    with TestClient(application(service, Access()), base_url="http://localhost") as client:
        (result,) = client.post("/v1/classify", json=body).json()["results"]
        assert result["label"] == "down"
        refused = client.post("/v1/classify", json={**body, "signal": "high"})
    assert refused.status_code == 400
    assert "signal: expected a list of numbers" in refused.text


def test_masked_numbers_never_count() -> None:
    torch.manual_seed(0)
    encoder = SignalEncoder(8)
    mask = torch.tensor([[True, False]])
    first, second = (encoder(Padded(torch.tensor([[1.0, junk]]), mask)).values for junk in (0.0, 9.0))
    assert torch.equal(first, second)
