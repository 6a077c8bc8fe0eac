"""The API follows the inputs of the models: a table beside a photo and a title, and a modality that only this file knows."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from torch import nn

from braid.api import load
from braid.config import add_kind, remove_kind
from braid.encoders import EncoderConfig
from braid.errors import UserError
from braid.files.paths import is_address, is_data_uri
from braid.layers.context import BuildContext
from braid.modalities import InputModalityConfig, LabelsModalityConfig, TextModalityConfig
from braid.presets import tiny
from braid.records import Example, Features, Padded, Units, View
from braid.server import Access, Limits
from braid.server.app import application
from braid.server.endpoints import Service
from braid.server.guard import Metrics
from braid.server.models import open_catalogue
from braid.server.uploads import Uploads
from braid.tasks import Classification
from served import TABLE, Server, data_uri, scene, write_model

IMAGE = scene(1)
URI = data_uri(IMAGE)
ROW = {"price": 80.5, "season": "winter"}


@pytest.fixture(scope="module")
def products(served_models: dict[str, Path]) -> Iterator[httpx.Client]:
    with Server("--model", served_models["products"]) as running, running.client() as client:
        yield client


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["results"]
    return result


def message(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


def test_a_photo_a_title_and_a_table_are_labelled_as_the_library_does(
    products: httpx.Client, served_models: dict[str, Path]
) -> None:
    items = [
        {"image": URI, "text": "a dog", "tabular": ROW},
        {"tabular": ROW},
        {"text": "a dog", "tabular": {"season": "never seen"}},
        {"image": URI},
    ]
    answered = results(products.post("/v1/classify", json={"items": items}))
    fields = [{**item, **({"image": IMAGE} if "image" in item else {})} for item in items]
    examples = [Example(str(row), one) for row, one in enumerate(fields)]
    expected = load(served_models["products"]).predict("classification", examples).predictions
    assert [one["label"] for one in answered] == [one.label for one in expected]
    for one, other in zip(answered, expected, strict=True):
        assert one["scores"] == pytest.approx(dict(other.scores), abs=2e-4)
    assert len({tuple(one["scores"].values()) for one in answered}) == 4  # every input counts


def test_a_form_sends_a_table_as_json_as_pairs_or_as_a_field_a_column(products: httpx.Client) -> None:
    (expected,) = results(products.post("/v1/classify", json={"image": URI, "tabular": ROW}))
    for data in (
        {"tabular": json.dumps(ROW)},
        {"tabular": "price=80.5,season=winter"},
        {"tabular.price": "80.5", "tabular.season": "winter"},
    ):
        assert results(products.post("/v1/classify", files={"image": ("a.png", IMAGE)}, data=data)) == [expected]
    (alone,) = results(products.post("/v1/classify", json={"tabular": {"price": 80.5}}))
    blank = {"tabular.price": (None, "80.5"), "tabular.season": (None, "")}
    assert results(products.post("/v1/classify", files=blank)) == [alone]
    several = {"tabular.price": ["80.5", "3"], "tabular.season": "winter"}
    first, second = results(products.post("/v1/classify", files={"image": ("a.png", IMAGE)}, data=several))
    assert first == expected and second["scores"] != expected["scores"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "there is nothing to classify; give image or text or tabular"),
        ({"tabular": "price=1"}, 'tabular: expected an object of columns such as {"price": 12}, found str'),
        ({"tabular": {"price": [1]}}, "tabular: column 'price' is [1], not text; fill it in or remove the row"),
        (
            {"tabular": {"prices": 1}},
            "item 1: there is no column 'prices' in this model; choose from price, season (did you mean 'price'?)",
        ),
        (
            {"items": [{"tabular": ROW, "colour": "red"}]},
            "items.0.colour: there is no such field; choose from image, tabular, text",
        ),
        ({"image": 5}, "image: input should be a valid string"),
    ],
)
def test_what_is_no_value_of_an_input_is_said_with_its_field(products: httpx.Client, body: Any, expected: str) -> None:
    assert message(products.post("/v1/classify", json=body)) == expected


def test_odd_values_of_cells_never_fail_the_server(products: httpx.Client) -> None:
    for cell in ("9" * 400, "1e999", '"\\ud800"', '"' + "x" * 200_000 + '"', "{}", "true", "null", '""'):
        for place in (f'{{"price": {cell}}}', f'{{"season": {cell}}}', cell):
            answer = products.post(
                "/v1/classify", content=f'{{"tabular": {place}}}', headers={"content-type": "application/json"}
            )
            assert answer.status_code in (200, 400), (cell[:20], answer.text)
    for body in ('{"tabular": {"\\ud800": 1}}', '{"\\ud800": 1}', '{"items": [{"\\ud800": 1}]}'):
        answer = products.post("/v1/classify", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text


def test_a_form_refuses_a_table_that_comes_in_two_ways_and_files_that_are_none(products: httpx.Client) -> None:
    image = {"image": ("a.png", IMAGE)}
    both = {"tabular": "{}", "tabular.price": "1"}
    assert message(products.post("/v1/classify", files=image, data=both)) == (
        "tabular comes whole and as tabular.COLUMN; send it in one of these ways"
    )
    wrong = products.post("/v1/classify", files={"tabular": ("a.csv", b"1")})
    assert message(wrong) == "the field tabular is a file; files go in image"


def test_an_explanation_says_which_column_counted(products: httpx.Client) -> None:
    (answer,) = results(products.post("/v1/classify", json={"image": URI, "text": "a dog", "tabular": ROW, "explain": True}))
    (word,) = answer["explanation"]["words"]
    assert word["text"] == answer["label"] and len(word["heat"]) == 4  # patches a side
    assert [unit["name"] for unit in word["units"]["tabular"]] == ["price", "season"]
    assert [unit["name"] for unit in word["units"]["text"]] == ["a", "dog"]
    scores = [abs(unit["score"]) for units in word["units"].values() for unit in units]
    assert max(scores) == 1
    assert set(answer["explanation"]["shares"]) == {"image", "text", "tabular"}
    assert sum(answer["explanation"]["shares"].values()) == pytest.approx(1, abs=1e-3)


def test_the_document_and_the_page_know_the_columns(products: httpx.Client) -> None:
    document = products.get("/openapi.json").json()
    schema = document["components"]["schemas"]["ClassifyRequest"]["properties"]["tabular"]["anyOf"][0]
    assert schema["properties"]["season"]["examples"] == ["summer", "winter"]
    form = document["paths"]["/v1/classify"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"image", "text", "tabular", "tabular.price", "tabular.season", "labels"} <= set(form["properties"])
    able = products.get("/abilities").json()
    assert able["tools"] == {
        "classify": [
            {"name": "image", "columns": False, "fields": [{"name": "image", "type": "file", "accept": "image/*"}]},
            {"name": "text", "columns": False, "fields": [{"name": "text", "type": "text"}]},
            {"name": "tabular", "columns": True, "fields": TABLE.fields()},
        ]
    }
    assert able["explains"] == ["classify"]


@dataclass(frozen=True)
class SeriesModalityConfig:
    """A short sequence of numbers: a modality of this test alone."""

    kind: Literal["series"] = "series"
    longest: int = 8

    columns: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[frozenset[str]] = frozenset()
    input_name: ClassVar[str] = "series"
    parts: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    def build(self, tokenizer: Any = None) -> "SeriesModality":
        return SeriesModality(self)

    def fitted(self, values: Any, several: bool = False) -> "SeriesModalityConfig":
        return self

    def cheaper(self) -> "SeriesModalityConfig":
        return self

    def augmenting(self) -> "SeriesModalityConfig":
        return self

    def in_use(self) -> "SeriesModalityConfig":
        return self

    def summary(self) -> str:
        return f"up to {self.longest} numbers"

    def fields(self) -> list[dict[str, Any]]:
        return [{"name": "series", "type": "text"}]

    @staticmethod
    def key(value: Any) -> tuple[float, ...]:
        return tuple(value)

    @staticmethod
    def from_cells(cells: Mapping[str, Any]) -> list[float]:
        ((_, value),) = cells.items()
        return SeriesModalityConfig.parse(value)

    @staticmethod
    def from_json(value: Any) -> list[float]:
        if not isinstance(value, list) or not all(isinstance(one, int | float) for one in value):
            raise UserError(f"expected a list of numbers, found {type(value).__name__}")
        return [float(one) for one in value]

    @staticmethod
    def parse(text: str) -> list[float]:
        try:
            return [float(part) for part in text.split()]
        except ValueError:
            raise UserError(f"{text!r} is not a series; write numbers with spaces between them") from None

    @staticmethod
    def encoded(value: Any, source: str, longest: int) -> tuple[bytes, str]:
        return json.dumps(value).encode(), ".json"

    @staticmethod
    def show(value: Any, size: int = 320, source: str = "") -> View:
        return View(" ".join(map(str, value)))

    @staticmethod
    def corrupt(value: Any, rng: np.random.Generator, source: str = "") -> list[float]:
        return list(rng.permutation(value))


class SeriesModality:
    shared: ClassVar[bool] = True
    augments: ClassVar[bool] = False

    def __init__(self, config: SeriesModalityConfig) -> None:
        self.config = config

    def prepare(self, value: Any, source: str = "", rng: Any = None) -> np.ndarray:
        if len(value) > self.config.longest:
            raise UserError(f"{source}: a series of {len(value)} numbers; at most {self.config.longest} are read, shorten it")
        return np.array(value, np.float32)

    def pad(self, values: Sequence[np.ndarray]) -> Padded:
        array = np.zeros((len(values), self.config.longest), np.float32)
        mask = np.zeros(array.shape, bool)
        for row, value in enumerate(values):
            array[row, : len(value)], mask[row, : len(value)] = value, True
        return Padded(array, mask)

    def missing(self) -> np.ndarray:
        return np.zeros(1, np.float32)

    def example(self) -> tuple[Padded, bool]:
        return self.pad([np.zeros(3, np.float32)] * 3), False

    def size_of(self, value: Any) -> int:
        return len(value)

    def units(self, given: Padded, real: np.ndarray, extent: Any) -> Units:
        places = np.flatnonzero(real)
        return Units(tuple(f"number {place + 1}" for place in places), np.eye(len(real), dtype=bool)[places])

    def without(self, given: Padded, units: Units, kept: np.ndarray) -> Padded:
        mask = np.repeat(given.mask[:1], len(kept), 0)
        mask[:, np.flatnonzero(given.mask[0])] &= kept
        return Padded(np.repeat(given.values[:1], len(kept), 0), mask)

    def canvas(self, value: Any, source: str, size: int) -> None:
        return None


@dataclass(frozen=True)
class SeriesEncoderConfig:
    kind: Literal["series_numbers"] = "series_numbers"
    width: int = 16

    modality: ClassVar[str] = "series"

    def build(self, context: BuildContext) -> "SeriesEncoder":
        return SeriesEncoder(self.width)


class SeriesEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(1, width)

    def forward(self, inputs: Padded) -> Features:
        return Features(self.linear(inputs.values.unsqueeze(-1)), inputs.mask)


@pytest.fixture(scope="module")
def beats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server in this process, where the modality is known."""
    add_kind(InputModalityConfig, SeriesModalityConfig)
    add_kind(EncoderConfig, SeriesEncoderConfig)
    folder = tmp_path_factory.mktemp("beats") / "beats"
    config = tiny(["prompt"], ["label"])
    config = replace(config, encoders={**config.encoders, "series": SeriesEncoderConfig()})  # type: ignore[dict-item]
    label = {"label": LabelsModalityConfig(labels=("calm", "fast"))}
    inputs = {"prompt": TextModalityConfig(max_length=16), "series": SeriesModalityConfig()}
    write_model(folder, config, inputs, label, [Classification()])
    limits, metrics = Limits(), Metrics()
    service = Service(open_catalogue([str(folder)], None, limits, metrics), Uploads(10**6, lambda url: b""), limits, metrics)
    with TestClient(application(service, Access()), base_url="http://localhost") as client:
        yield client
    remove_kind(InputModalityConfig, SeriesModalityConfig)
    remove_kind(EncoderConfig, SeriesEncoderConfig)


def test_a_modality_of_this_test_is_served_and_explained(beats: TestClient) -> None:
    (answer,) = results(beats.post("/v1/classify", json={"series": [1, 2.5, 9], "text": "a dog", "explain": True}))
    assert answer["label"] in ("calm", "fast")
    (word,) = answer["explanation"]["words"]
    assert [unit["name"] for unit in word["units"]["series"]] == ["number 1", "number 2", "number 3"]
    plain = {name: value for name, value in answer.items() if name != "explanation"}
    typed = {"series": (None, "1 2.5 9"), "text": (None, "a dog")}
    assert results(beats.post("/v1/classify", files=typed)) == [plain]
    several = {"items": [{"series": [1, 2.5, 9], "text": "a dog"}, {"series": [1.0] * 9}]}
    first, second = results(beats.post("/v1/classify", json=several))
    assert first == plain
    assert second["error"]["message"] == "item 2: a series of 9 numbers; at most 8 are read, shorten it"


def test_mistakes_in_it_are_said_with_its_name(beats: TestClient) -> None:
    wrong = beats.post("/v1/classify", json={"items": [{"series": "1 2"}]})
    assert message(wrong) == "items.0.series: expected a list of numbers, found str"
    assert message(beats.post("/v1/classify", json={})) == "there is nothing to classify; give text or series"
    assert message(beats.post("/v1/classify", json={"image": URI})) == (
        "image: there is no such field; choose from explain, labels, model, series, text"
    )
    able = beats.get("/abilities").json()["tools"]["classify"]
    assert {"name": "series", "columns": False, "fields": [{"name": "series", "type": "text"}]} in able


BASE64 = URI.partition(",")[2]
SAFE = BASE64.replace("+", "-").replace("/", "_")
SAME = {
    "parameters": f'data:image/png; charset=utf-8;name="a;b,c.png" ; base64,{BASE64}',
    "a name with a space": f"data:image/png;name=a b.png;base64,{BASE64}",
    "capitals": f"DATA:IMAGE/PNG;BASE64,{BASE64}",
    "no type": f"data:;base64,{BASE64}",
    "any image": f"data:image/*;base64,{BASE64}",
    "octets": f"data:application/octet-stream;base64,{BASE64}",
    "space around": f"  data:image/png;base64,\n{BASE64}\n",
    "lines": "data:image/png;base64," + "\r\n".join(BASE64[k : k + 76] for k in range(0, len(BASE64), 76)),
    "percent": "data:image/png;base64," + quote(BASE64, safe=""),
    "url-safe": f"data:image/png;base64,{SAFE}",
    "no padding": f"data:image/png;base64,{BASE64.rstrip('=')}",
}
UPLOADS = Uploads(10**6, lambda url: b"")


@pytest.mark.parametrize("name", SAME)
def test_every_spelling_of_a_data_uri_is_the_same_file(name: str) -> None:
    assert UPLOADS.encoded(SAME[name]) == IMAGE
    assert is_data_uri(SAME[name]) and is_address(SAME[name])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("data:image/png,abc", "the data URI is not of the form data:image/png;base64,..."),
        ("data:image/png;base64," + ";a=b ;" * 100_000, "image is not base64; send a data URI"),
        ("data:image/png" + " ;a=b" * 100_000, "the data URI is not of the form data:image/png;base64,..."),
        ("data:image/png;base64,", "image is empty; send the bytes of a file as base64"),
        (SAFE[:8] + " " + SAFE[8:16] + " abc", "image is base64 with spaces, as a form makes of +; send + as %2B, or send JSON"),
        ("data:image/png;base64,abcde", "image is not base64; send a data URI"),
    ],
)
def test_a_data_uri_that_cannot_be_read(given: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(UserError) as refused:
        UPLOADS.encoded(given)
    assert str(refused.value).startswith(message)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "text", ["data: the new oil", "Data:apples,pears", "a data:image/png;base64,aGk=", "database/base64, two"]
)
def test_a_text_about_data_is_a_text(text: str) -> None:
    assert not is_data_uri(text)


def test_texts_that_are_longer_than_the_model_reads_are_named(products: httpx.Client, served_models: dict[str, Path]) -> None:
    long = "a dog runs in the park " * 20
    items = [{"text": long}, {"text": "a dog", "tabular": ROW}, {"text": long, "image": URI}]
    answered = results(products.post("/v1/classify", json={"items": items}))
    assert [one.get("truncated") for one in answered] == [["text"], None, ["text"]]
    with Server("--model", served_models["every"]) as server, server.client() as client:
        (answered_one,) = results(client.post("/v1/answer", json={"image": URI, "question": long}))
        assert answered_one["truncated"] == ["question"]
        assert [
            one.get("truncated") for one in results(client.post("/v1/embed", json={"items": [{"text": long}, {"text": "a"}]}))
        ] == [
            ["text"],
            None,
        ]
        data = client.post("/v1/embeddings", json={"model": "every", "input": [long, "a"]}).json()["data"]
        assert [one.get("truncated") for one in data] == [["text"], None]
        parts = [{"type": "text", "text": long}, {"type": "image_url", "image_url": {"url": URI}}]
        body = {"model": "every", "messages": [{"role": "user", "content": parts}]}
        assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["truncated"] == ["question"]
