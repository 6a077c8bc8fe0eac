"""Pictures to be drawn: prompts, settings, models that draw nothing, and codecs."""

import json
from pathlib import Path
from typing import Any

import torch

from bad.case import SETTINGS, case, command, table
from bad.data import opened
from braid.bundle import Interface, write_bundle
from braid.codecs import FSQCodecConfig
from braid.config import to_dict
from braid.decoders import MaskedDecoderConfig
from braid.modalities import ImageModalityConfig, TextModalityConfig, Tokenizer
from braid.model import ModelConfig
from braid.presets import tiny
from braid.tasks import ImageGeneration, Reconstruction
from braid.training import run_from, train

CODEC = FSQCodecConfig(width=8, max_width=8, levels=(4, 4))
OUT = {"image": ImageModalityConfig(size=32)}


def saved(home: Path, config: ModelConfig, task: Any) -> Path:
    """A model with random weights that reads a prompt, if anything, and draws."""
    tokenizer = Tokenizer.train(["a red circle", "a blue square"] * 9, vocab_size=300)
    inputs = {name: TextModalityConfig(max_length=16) for name in config.encoders}
    torch.manual_seed(0)
    model = config.build({name: one.build(tokenizer) for name, one in inputs.items()}, {"image": OUT["image"].build()})
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    tokenizers = {"tokenizer": tokenizer} if inputs else {}
    write_bundle(home / "drawer", Interface(inputs, OUT, {task.kind: to_dict(task)}), tokenizers, to_dict(config), weights)  # type: ignore[arg-type]
    return home / "drawer"


def image_decoder(home: Path) -> Path:
    decoder = MaskedDecoderConfig(width=16, depth=1, heads=2)
    base = tiny(inputs=["prompt"])
    return saved(home, ModelConfig(32, base.encoders, base.fusion, {"image": decoder}, {"image": CODEC}), ImageGeneration())


def codec(home: Path) -> Path:
    return saved(home, ModelConfig(codecs={"image": CODEC}), Reconstruction())


def imagine(home: Path, model: object, prompt: str, *options: object) -> str:
    return command("imagine", prompt, "-m", model, "-o", home / "out.png", *options)


@case("image generation", "an empty prompt")
def _(home: Path) -> Any:
    return imagine(home, image_decoder(home), " ")


@case("image generation", "a prompt longer than the model reads")
def _(home: Path) -> Any:
    return imagine(home, image_decoder(home), "a red circle and " * 20)


@case("image generation", "guidance below 0")
def _(home: Path) -> Any:
    return imagine(home, image_decoder(home), "a red circle", "--guidance", -1)


@case("image generation", "temperature 0")
def _(home: Path) -> Any:
    return imagine(home, image_decoder(home), "a red circle", "--temperature", 0)


@case("image generation", "an image to change, for a model that reads text alone")
def _(home: Path) -> Any:
    return imagine(home, image_decoder(home), "make it green", "--image", home / "photo.png")


@case("image generation", "a model without a decoder of images")
def _(home: Path) -> Any:
    return imagine(home, home / "model", "a red circle")


@case("image generation", "a codec alone, to generate with")
def _(home: Path) -> Any:
    return imagine(home, codec(home), "a red circle")


@case("image generation", "a folder where the image is to be written")
def _(home: Path) -> Any:
    return command("imagine", "a red circle", "-m", image_decoder(home), "-o", home)


@case("image generation", "reconstructions of a model that has no codec")
def _(home: Path) -> Any:
    return command("inspect", home / "model", "--reconstruct", home / "photo.png", "-o", home / "out.png")


@case("image generation", "an image of another size for a codec, and one that is cut short")
def _(home: Path) -> Any:
    path = codec(home)
    assert command("inspect", path, "--reconstruct", home / "photo.png", "-o", home / "out.png").startswith("goes on")
    (home / "cut.png").write_bytes((home / "photo.png").read_bytes()[:900])
    return command("inspect", path, "--reconstruct", home / "cut.png", "-o", home / "out.png")


def settings(**changes: Any) -> dict[str, Any]:
    draws = {"task": "image_generation", "data": {"path": "scenes:image_generation,train=8,val=2,size=32"}}
    return {**SETTINGS, **draws, "outputs": {"image": {"kind": "image", "size": 32}}, **changes}


@case("image generation", "image generation without a codec, in training")
def _(home: Path) -> Any:
    return train(run_from(settings()), home / "run")


@case("image generation", "a codec of a model that has none, in training")
def _(home: Path) -> Any:
    return train(run_from(settings(initialize={"codecs.image": str(home / "model")})), home / "run")


@case("image generation", "patches of an image decoder that its codec's tokens do not fill")
def _(home: Path) -> Any:
    base = tiny(inputs=["prompt"])
    decoder = MaskedDecoderConfig(patch_size=3, width=48, depth=1, heads=2)
    return saved(home, ModelConfig(32, base.encoders, base.fusion, {"image": decoder}, {"image": CODEC}), ImageGeneration())


@case("image generation", "a width that the patches of an image decoder do not divide")
def _(home: Path) -> Any:
    return MaskedDecoderConfig(patch_size=3, width=32)


@case("image generation", "a codec with an odd downscale")
def _(home: Path) -> Any:
    return run_from(
        {"task": "reconstruction", "data": {"path": "x"}, "model": {"codecs": {"image": {"kind": "fsq", "downscale": 6}}}}
    )


@case("image generation", "an image's size that a codec cannot divide")
def _(home: Path) -> Any:
    odd = settings(
        task="reconstruction", model={"codecs": {"image": to_dict(CODEC)}}, outputs={"image": {"kind": "image", "size": 36}}
    )
    return train(run_from(odd), home / "run")


@case("image generation", "captions without a word, as prompts")
def _(home: Path) -> Any:
    return opened(table(home, "image,caption\nphoto.png,\nphoto.jpg,a red circle\n"))


@case("image generation", "an edit whose image afterwards is not there")
def _(home: Path) -> Any:
    rows = [{"image": "photo.png", "instruction": "make it red", "edited": name} for name in ("photo.jpg", "lost.jpg")]
    return opened(table(home, "".join(json.dumps(row) + "\n" for row in rows), "edits.jsonl"))
