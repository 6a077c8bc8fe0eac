"""A real server in a process of its own, and tiny models for it."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from braid.api import load
from braid.bundle import DataCard, Interface, write_bundle
from braid.config import to_dict
from braid.modalities import (
    EmbeddingModalityConfig,
    ImageModalityConfig,
    LabelsModalityConfig,
    OutputModalityConfig,
    TabularModalityConfig,
    TextModalityConfig,
    Tokenizer,
    build_modalities,
)
from braid.modalities.tabular import CategoryColumn, NumberColumn
from braid.presets import codec, tiny
from braid.tasks import Captioning, Classification, ImageGeneration, Retrieval, VisualQuestionAnswering

SIZE = 32  # pixels
PATIENCE = 120.0  # seconds: the machine may be busy
COLUMNS = (NumberColumn("price", mean=50.0, std=20.0), CategoryColumn("season", categories=("summer", "winter")))
TABLE = TabularModalityConfig(table=COLUMNS)
WORDS = ["a dog runs in the park", "two cats on a mat", "what colour is it?", "a red star"] * 9


class Server:
    """``braid serve`` on a free port, from the moment that it answers."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "braid", "serve", "--port", "0", "--json", *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None and self.process.stderr is not None
        self.log: list[str] = []
        self._reader = threading.Thread(target=lambda lines: self.log.extend(lines), args=[self.process.stderr], daemon=True)
        self._reader.start()
        first = self.process.stdout.readline()
        if not first:
            self.stop()
            raise RuntimeError("".join(self.log))
        self.url = json.loads(first)["url"]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, **settings: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, **settings)

    def metric(self, name: str) -> float:
        """One number of /metrics, by its name and labels as they stand there."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


def data_uri(encoded: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded).decode("ascii")


def scene(number: int, size: int = 96) -> bytes:
    """An image of a scene, as PNG."""
    from braid.datasets.scenes import Scenes

    file = io.BytesIO()
    Image.fromarray(Scenes(size=size).scene("test", number).render(size)).save(file, "PNG")
    return file.getvalue()


def write_models(folder: Path) -> dict[str, Path]:
    """``every``: captions, answers, labels and embeddings; ``drawer``: images; ``products``: labels of a photo, a
    title and the columns of a table. Their weights are random."""
    image, prompt = ImageModalityConfig(size=SIZE), TextModalityConfig(max_length=16)
    outputs = {
        "text": TextModalityConfig(max_length=26),
        "label": LabelsModalityConfig(labels=("cat", "dog", "star")),
        "embedding": EmbeddingModalityConfig(),
    }
    tasks = (Captioning(), VisualQuestionAnswering(), Classification(), Retrieval())
    every = tiny(outputs=list(outputs))
    write_model(folder / "every", every, {"image": image, "prompt": prompt}, outputs, tasks)
    image_decoder = replace(tiny(inputs=["prompt"], outputs=["image"]), codecs=codec().codecs)
    write_model(folder / "drawer", image_decoder, {"prompt": prompt}, {"image": image}, [ImageGeneration()])
    products = {"image": image, "prompt": prompt, "tabular": TABLE}
    label = {"label": LabelsModalityConfig(labels=("shoe", "shirt", "bag"))}
    write_model(folder / "products", tiny(list(products), list(label)), products, label, [Classification()])
    return {name: folder / name for name in ("every", "drawer", "products")}


def write_model(
    folder: Path, config: Any, inputs: Mapping[str, Any], outputs: Mapping[str, OutputModalityConfig], tasks: Sequence[Any]
) -> None:
    tokenizer = Tokenizer.train(WORDS, vocab_size=300)

    torch.manual_seed(0)
    built = [build_modalities(configs, {"tokenizer": tokenizer}) for configs in (inputs, outputs)]
    model = config.build(*built)
    weights = {name: value.numpy().astype(np.float32) for name, value in model.state_dict().items()}
    card = DataCard(name=folder.name, description="random weights, for tests")
    interface = Interface(dict(inputs), dict(outputs), {task.kind: to_dict(task) for task in tasks}, card=card)
    write_bundle(folder, interface, {"tokenizer": tokenizer}, to_dict(config), weights)


def write_index(model: Path | str, folder: Path, number: int = 5) -> Path:
    """An index of scenes that ``model`` made."""
    images = folder / "pictures"
    images.mkdir()
    for one in range(number):
        (images / f"{one}.png").write_bytes(scene(one, 240))
    load(model).index(images, folder / "scenes.index").index.close()
    return folder / "scenes.index"
