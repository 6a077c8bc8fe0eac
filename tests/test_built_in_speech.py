"""The built-in model that finds photos by speech: its size, its space, and what it hears."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import braid as library
from braid.bundle import find_bundle, read_bundle
from test_cli_use import Braid

SAID = ("two dogs are running through the snow", "a man is surfing on a big wave", "a group of people sitting at a table")
VOICE = "en-gb-x-gbclan+f2"  # heard in no training


def test_it_is_small_and_stores_nothing_of_its_base_again() -> None:
    folder = find_bundle("speech")
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10_000_000
    bundle = read_bundle(folder)
    assert bundle.interface.base and bundle.interface.base.model == "small"
    assert not any(name.startswith(("encoders.image", "encoders.prompt")) for name in set(bundle.shapes()) - bundle.taken)


def test_it_is_in_the_space_of_small_and_its_graphs_answer_as_torch_does() -> None:
    small, exact, graphs = library.load("small"), *(library.load("speech", runtime=runtime) for runtime in ("torch", "onnx"))
    assert small.origin == exact.origin == graphs.origin
    assert np.allclose(small.embed(texts="a dog"), graphs.embed(texts="a dog"), atol=1e-5)
    rng = np.random.default_rng(0)
    for seconds in (0.05, 1.28, 3.0, 8.5):
        sound = (0.1 * rng.standard_normal(round(16_000 * seconds)).astype(np.float32), 16_000)
        assert np.allclose(exact.embed(audio=sound), graphs.embed(audio=sound), atol=1e-5)
        assert np.allclose(small.embed(audio=sound), graphs.embed(audio=sound), atol=1e-5)  # small asks it


def test_small_finds_by_speech(braid: Braid, tmp_path: Path) -> None:
    if not shutil.which("espeak-ng"):
        pytest.skip("no espeak-ng here, which speaks the sentences")
    for number, said in enumerate(SAID):
        subprocess.run(["espeak-ng", "-v", VOICE, "-w", tmp_path / f"{number}.wav", said], check=True)
    small = library.load("small")
    cosines = small.embed(audio=[str(tmp_path / f"{number}.wav") for number in range(len(SAID))]) @ small.embed(texts=SAID).T
    assert cosines.argmax(1).tolist() == [0, 1, 2]
