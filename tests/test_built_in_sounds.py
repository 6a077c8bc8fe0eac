"""The built-in model that hears: its size, its labels and what it finds, on recordings that it was not trained on."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import braid as library
from braid.bundle import find_bundle
from test_cli_use import Braid

SAID = {
    "dog bark": "a dog barks",
    "rain": "it rains",
    "rooster": "a cock that crows",
    "baby cry": "a crying baby",
    "helicopter": "a helicopter in the air",
    "chainsaw": "somebody saws wood with a chainsaw",
}


@pytest.fixture(scope="module")
def heard(shared_data: Path) -> dict[str, list[Path]]:
    """Recordings of ESC-10's fold 5, by label."""
    result: dict[str, list[Path]] = {}
    for line in (shared_data / "esc10" / "clips.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["fold"] == 5:
            result.setdefault(row["label"], []).append(shared_data / "esc10" / row["audio"])
    return result


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in find_bundle("sounds").iterdir()) <= 10_000_000


def test_its_graphs_answer_as_torch_does_for_any_length() -> None:
    exact, graphs = (library.load("sounds", runtime=runtime) for runtime in ("torch", "onnx"))
    rng = np.random.default_rng(0)
    for seconds in (0.05, 1.28, 1.3, 9.9, 12.0):
        sound = (0.1 * rng.standard_normal(round(16_000 * seconds)).astype(np.float32), 16_000)
        assert np.allclose(exact.embed(audio=sound), graphs.embed(audio=sound), atol=1e-5)
        assert exact.classify(audio=sound).scores == pytest.approx(graphs.classify(audio=sound).scores, abs=1e-4)
    assert np.allclose(exact.embed(texts="a dog barks"), graphs.embed(texts="a dog barks"), atol=1e-5)


def test_it_names_sounds(heard: dict[str, list[Path]]) -> None:
    model = library.load("sounds")
    right = [model.classify(audio=str(file)).label == label for label, files in heard.items() for file in files]
    assert len(right) == 80 and np.mean(right) > 0.85


def test_it_finds_sounds_by_words_and_by_sounds(heard: dict[str, list[Path]], braid: Braid, tmp_path: Path) -> None:
    files = {file.name: label for label, some in heard.items() for file in some}
    place = tmp_path / "sounds.index"
    assert braid("index", *(file for some in heard.values() for file in some), "-o", place, "--model", "sounds").code == 0
    for label, text in SAID.items():
        ran = braid("search", place, text, "--model", "sounds", "--top", 4, "--json")
        found = Counter(files[Path(json.loads(line)["id"]).name] for line in ran.out.splitlines())
        assert found[label] >= 2, (text, found)
    ran = braid("search", place, "--audio", heard["rooster"][0], "--model", "sounds", "--top", 4, "--json")
    first, *others = (files[Path(json.loads(line)["id"]).name] for line in ran.out.splitlines())
    assert first == "rooster" and others.count("rooster") >= 1
