"""What a case of bad input is, and what several of them need."""

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from braid import cli
from braid.bundle import Interface, write_bundle
from braid.config import to_dict
from braid.errors import UserError
from braid.modalities import ImageModalityConfig, TextModalityConfig, Tokenizer
from braid.presets import tiny
from braid.tasks import Captioning
from braid.training import run_from


@dataclass(frozen=True)
class Case:
    """``make(home)`` makes the input and uses it; it raises ``UserError``, or returns what came of it."""

    kind: str
    what: str
    make: Callable[[Path], Any]

    def says(self, home: Path) -> str:
        """Braid's own words, without the folder that the test made."""
        try:
            result = f"*{self.make(home)}*"
        except UserError as error:
            result = str(error)
        return " ".join(result.replace(f"{home}/", "").replace(str(home), ".").replace("\0", "\\0").split())


CASES: list[Case] = []


def case(kind: str, what: str) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    def add(make: Callable[[Path], Any]) -> Callable[[Path], Any]:
        CASES.append(Case(kind, what, make))
        return make

    return add


def make_home(home: Path) -> None:
    """photo.png, photo.jpg, and model/: a whole model with random weights."""
    home.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / "photo.png")
    Image.fromarray(pixels).save(home / "photo.jpg")
    inputs = {"image": ImageModalityConfig(size=32), "prompt": TextModalityConfig(max_length=16)}
    outputs = {"text": TextModalityConfig(max_length=26)}
    tokenizer = Tokenizer.train(["a dog runs in the park", "two cats on a mat"] * 9, vocab_size=300)
    torch.manual_seed(0)
    model = tiny().build({k: v.build(tokenizer) for k, v in inputs.items()}, {k: v.build(tokenizer) for k, v in outputs.items()})
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    interface = Interface(inputs, outputs, {"captioning": to_dict(Captioning())})  # type: ignore[arg-type]
    write_bundle(home / "model", interface, {"tokenizer": tokenizer}, to_dict(tiny()), weights)


def command(*arguments: object) -> str:
    """The command line in this process; its error, or what it notes on stderr."""
    message, before = io.StringIO(), sys.argv
    sys.argv = ["braid", *map(str, arguments)]
    code: object = 0
    try:
        with contextlib.redirect_stderr(message), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as left:
        code = left.code
    finally:
        sys.argv = before
    text = message.getvalue().strip()
    if text.startswith("error: "):
        assert (code, text.count("\n")) == (1, 0)
        raise UserError(text.removeprefix("error: "))
    return f"goes on, exit code {code}{': ' if text else ''}{text}"


def table(home: Path, content: str | bytes, name: str = "data.csv") -> Path:
    (home / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return home / name


SETTINGS: dict[str, Any] = {
    "task": "captioning",
    "data": {"path": "scenes:captioning,train=8,val=2,test=1,compositional=1,size=32"},
    "model": "tiny",
    "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 16}},
    "tokenizer": {"vocab_size": 300},
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
}


def run(data: Path | None = None, *settings: str) -> Any:
    chosen = {**SETTINGS, **({"data": {"path": str(data)}} if data else {})}
    return run_from(chosen, settings)
