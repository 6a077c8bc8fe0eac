"""Pretrained parts: features equal transformers' own, all is taken over, a saved model needs neither hub nor folder."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from braid import api
from braid.bundle import read_bundle
from braid.decoders import PretrainedTextDecoderConfig
from braid.encoders import PretrainedImageEncoderConfig, PretrainedTextEncoderConfig
from braid.errors import UserError, install_command
from braid.huggingface import hub
from braid.layers.context import BuildContext
from braid.modalities import ImageModalityConfig, InputModality, OutputModality, TextModalityConfig, Tokenizer
from braid.records import Fused, Padded
from braid.runtime.torch import load_model
from braid.training import run_from, train
from huggingface_models import RESNET, tokenizer
from variants import BERT, CLIP, GPT2, samples

LLAMA = {"model_type": "llama", "vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
MAMBA = {"model_type": "mamba", "vocab_size": 400, "hidden_size": 16, "num_hidden_layers": 1}


def reading(modality: InputModality) -> BuildContext:
    """The context of an encoder."""
    return BuildContext("x", {"x": modality})


def writing(modality: OutputModality, memory_width: int) -> BuildContext:
    """The context of a decoder."""
    return BuildContext("x", outputs={"x": modality}, memory_width=memory_width)


WORDS = TextModalityConfig().build(Tokenizer.train(["a"]))
SENTENCES = ("A man riding a horse on the beach.", "Zwei Hunde", "naïve café ☕, unaffable!", "a " * 90)


def test_minilm_s_features_equal_transformers_own(minilm: Path) -> None:
    modality_config = TextModalityConfig(max_length=64)
    config, modality_config, tokenizers = PretrainedTextEncoderConfig(source=str(minilm)).taken_over(
        minilm, modality_config, "prompt.tokenizer"
    )
    modality = modality_config.build(Tokenizer.from_json(tokenizers["prompt.tokenizer"].to_json()))
    encoder = config.build(reading(modality))
    encoder.load(minilm)
    batch = modality.pad([modality.prepare(text) for text in SENTENCES])
    own = transformers.AutoTokenizer.from_pretrained(minilm)
    given = own(list(SENTENCES), padding="longest", truncation=True, max_length=64, return_tensors="pt")
    assert (given["input_ids"].numpy() == batch.values).all()
    with torch.no_grad():
        ours = encoder.eval()(Padded(torch.from_numpy(batch.values), torch.from_numpy(batch.mask))).values
        theirs = transformers.AutoModel.from_pretrained(minilm)(**given).last_hidden_state
    difference = float((ours - theirs)[torch.from_numpy(batch.mask)].abs().max())
    print(f"MiniLM: largest difference of {ours.shape} features {difference}")
    assert difference < 1e-6


@pytest.mark.parametrize("name", ["vit", "clip", "resnet"])
def test_an_image_encoder_gives_transformers_own_features(name: str, part_models: Path) -> None:
    folder = part_models / name
    config, modality_config, _ = PretrainedImageEncoderConfig(source=str(folder)).taken_over(folder, ImageModalityConfig(), "")
    encoder = config.build(reading(modality_config.build()))
    encoder.load(folder)
    pixels = torch.randn(2, 3, 32, 32)
    own = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        features = encoder.eval()(Padded(pixels, torch.ones(2, 32, 32, dtype=torch.bool)))
        theirs = (own.vision_model if name == "clip" else own)(pixels).last_hidden_state
    flat = theirs.flatten(2).transpose(1, 2) if theirs.ndim == 4 else theirs
    assert torch.equal(features.values, flat) and features.values.shape[2] == encoder.width
    assert features.extent is not None
    whole = 0 if name == "resnet" else 1  # the class token sees all of the picture
    assert features.extent[:whole].tolist() == [[0, 0, 1, 1]] * whole
    assert features.extent[whole].tolist() == pytest.approx([0, 0, 0.25, 0.25])


def test_a_models_image_statistics_are_taken_over(part_models: Path) -> None:
    given = hub.images(part_models / "vit")
    assert given == ImageModalityConfig(size=32, resize="squash", mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    modality = given.build()
    ours = modality.pad([modality.prepare(image)]).values
    theirs = transformers.AutoImageProcessor.from_pretrained(part_models / "vit")(image, return_tensors="np")["pixel_values"]
    assert np.abs(ours - theirs).max() < 1e-5
    cut = hub.images(part_models / "clip")
    assert (cut.size, cut.resize) == (32, "crop") and cut.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_tokenizer_is_taken_over_with_its_special_tokens(kind: str, part_models: Path) -> None:
    taken = hub.tokenizer(part_models / kind, begins=True)
    again = Tokenizer.from_json(taken.to_json())
    assert again.special == taken.special == ((0, 2, 3) if kind == "bert" else (0, 0, 0))
    text = samples()[0].inputs["prompt"]
    assert again.framed(text, 40)[1:-1] == tokenizer(kind)(text, add_special_tokens=False)["input_ids"]
    assert again.framed(text, 4)[0] == again.special.bos and len(again.framed(text, 4)) == 4
    assert again.decode(again.framed(text, 40)).lower().replace(" ", "") == text.lower().replace(" ", "")
    assert again.encode("<|endoftext|>" if kind == "gpt2" else "[SEP]") == []


def test_text_for_a_processor_loses_nothing() -> None:
    whole = Tokenizer.of_bytes()
    for text in (*SENTENCES, "a dog...", "<bos> is text", "tab\tand  spaces"):
        assert whole.decode(whole.framed(text, 4096)) == text.strip()


def run_settings(part_models: Path, **parts: Any) -> dict[str, Any]:
    source = {name: str(part_models / name) for name in ("bert", "vit", "gpt2")}
    return {
        "task": "vqa",
        "data": {"path": "scenes:vqa,train=32,val=8,test=1,compositional=1,size=32"},
        "model": {
            "width": 32,
            "encoders": {
                "image": {"kind": "pretrained_image", "source": source["vit"], "train": "lora"},
                "prompt": {"kind": "pretrained_text", "source": source["bert"]},
            },
            "fusion": {"kind": "concat", "mode": "sequences"},
            "decoders": {"text": {"kind": "pretrained", "source": source["gpt2"], **parts}},
        },
        "inputs": {"image": {"kind": "image", "size": 64}, "prompt": {"kind": "text", "max_length": 24}},
        "outputs": {"text": {"kind": "text", "max_length": 16}},
        "epochs": 1,
        "batch_size": 16,
        "workers": 0,
        "threads": 1,
        "checkpoint_steps": 1,
    }


@pytest.mark.parametrize("reads", ["prefix", "cross"])
def test_a_run_of_pretrained_parts_is_a_bundle_that_needs_no_source(reads: str, part_models: Path, tmp_path: Path) -> None:
    copied = tmp_path / "models"
    shutil.copytree(part_models, copied)
    config = run_from(run_settings(copied, reads=reads, train="frozen" if reads == "cross" else "full"))
    train(config, tmp_path / "run")
    frozen = load_model(read_bundle(tmp_path / "run" / "best")).encoders["prompt"].network.state_dict()
    assert all(torch.equal(frozen[name], value) for name, value in bert_state(copied).items())
    train(config, tmp_path / "run", resume=True)  # reads the checkpoint, in which tied weights stand once
    shutil.rmtree(copied)
    loaded = api.load(tmp_path / "run")
    files = {path.name for path in loaded.bundle.folder.iterdir()}
    assert files == {"interface.json", "model.json", "model.safetensors", "prompt.tokenizer.json", "text.tokenizer.json"}
    assert loaded.bundle.interface.inputs["image"] == ImageModalityConfig(size=32, mean=(0.1, 0.2, 0.3))
    assert [source.name for source in loaded.bundle.interface.card.sources] == ["vit", "bert", "gpt2"]
    rows = loaded.collator(samples()).batch
    answer = loaded.runtime.write("text", rows, loaded.task("vqa", beam=3).generation)
    assert len(answer) == 8 and all(0 < result.confidence <= 1 for result in answer)
    architecture = json.loads((loaded.bundle.folder / "model.json").read_text())
    assert architecture["encoders"]["prompt"]["source"] == "" and str(tmp_path) not in json.dumps(architecture)


def bert_state(folder: Path) -> dict[str, torch.Tensor]:
    return dict(transformers.AutoModel.from_pretrained(folder / "bert").state_dict())


SIZES = {"vocab_size": 330, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.mark.parametrize(
    ("reads", "architecture"),
    [
        ("prefix", {"model_type": "llama", **SIZES, "num_key_value_heads": 2}),
        ("prefix", {"model_type": "bloom", "vocab_size": 330, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        ("prefix", {"model_type": "opt", **SIZES, "ffn_dim": 64, "word_embed_proj_dim": 32}),
        ("cross", {"model_type": "roberta", **SIZES, "max_position_embeddings": 66}),
    ],
    ids=["rotary", "alibi", "learned", "cross"],
)
def test_other_language_models_keep_the_decode_protocol(reads: str, architecture: dict[str, Any]) -> None:
    """However a model counts positions: cached is uncached, and padding and other rows of what was fused change nothing."""
    torch.manual_seed(0)
    decoder = PretrainedTextDecoderConfig(reads=reads, architecture=architecture).build(writing(WORDS, 16)).eval()  # type: ignore[arg-type]
    mask = torch.tensor([[1, 1, 1, 0, 0], [0] * 5, [1] * 5]).bool()
    fused = Fused(torch.randn(3, 5, 16), mask, torch.randn(3, 16))
    longer = Fused(torch.cat([fused.values, torch.randn(3, 3, 16)], 1), torch.nn.functional.pad(mask, (0, 3)), fused.pooled)
    tokens = torch.randint(3, WORDS.vocab_size, (3, 2, 6))
    with torch.no_grad():
        whole = decoder.logits(fused, tokens)
        assert torch.isfinite(whole).all()
        assert torch.allclose(decoder.logits(longer, tokens), whole, atol=1e-5)
        alone = decoder.logits(Fused(fused.values[:1], mask[:1], fused.pooled[:1]), tokens[:1])
        assert torch.allclose(alone, whole[:1], atol=1e-5)
        state = decoder.reorder(decoder.start(fused), torch.zeros(3, 2, dtype=torch.long))
        for position in range(6):
            step, state = decoder.step(tokens[:, :, position], state)
            assert torch.allclose(step, whole[:, :, position], atol=1e-5)


def test_lora_trains_little_and_begins_as_the_model_was(part_models: Path) -> None:
    folder = part_models / "clip"
    part = PretrainedImageEncoderConfig(source=str(folder), train="lora", lora_rank=2)
    config, modality, _ = part.taken_over(folder, ImageModalityConfig(), "")
    encoder = config.build(reading(modality.build()))
    encoder.load(folder)
    pixels = torch.randn(1, 3, 32, 32)
    own = transformers.AutoModel.from_pretrained(folder).vision_model.eval()
    with torch.no_grad():
        ours = encoder.eval()(Padded(pixels, torch.ones(1, 32, 32, dtype=torch.bool))).values
        assert torch.allclose(ours, own(pixels).last_hidden_state, atol=1e-6)
    trained = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)


def test_a_prefix_that_is_too_long_is_told(part_models: Path) -> None:
    gpt2 = {**GPT2, "n_positions": 24}
    modality = TextModalityConfig(max_length=20).build(Tokenizer.train(["a dog"]))
    decoder = PretrainedTextDecoderConfig(architecture=gpt2).build(writing(modality, 8)) if modality.vocab_size <= 330 else None
    assert decoder is not None
    fused = Fused(torch.zeros(1, 9, 8), torch.ones(1, 9, dtype=torch.bool), torch.zeros(1, 8))
    message = (
        "9 fused positions and 20 tokens are more than the 24 that the gpt2 model reads; choose reads: cross, or fusion: concat "
        "over vectors"
    )
    with pytest.raises(UserError, match=f"^{message}$"):
        decoder.start(fused)


def smaller(folder: Path, **settings: int) -> Any:
    return PretrainedTextEncoderConfig(source=str(folder), **settings).taken_over(folder, TextModalityConfig(), "x.tokenizer")


WRONG: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda part_models: PretrainedTextEncoderConfig(),
    "no such folder": lambda part_models: hub.find(str(part_models / "gone")),
    "no network": lambda part_models: hub.find("google/vit-base-patch16-224"),
    "not a model": lambda part_models: hub.find(str(part_models)),
    "text model for pictures": lambda part_models: hub.architecture(part_models / "bert", hub.IMAGE),
    "decoder for pictures": lambda part_models: hub.architecture(part_models / "gpt2", hub.IMAGE),
    "pictures for text": lambda part_models: hub.architecture(part_models / "vit", hub.TEXT),
    "pictures for writing": lambda part_models: hub.architecture(part_models / "resnet", hub.WRITER),
    "no cross-attention": lambda part_models: PretrainedTextDecoderConfig(architecture=LLAMA, reads="cross").build(
        writing(WORDS, 8)
    ),
    "no keys and values": lambda part_models: PretrainedTextDecoderConfig(architecture=MAMBA).build(writing(WORDS, 8)),
    "no linear layer": lambda part_models: PretrainedImageEncoderConfig(architecture=RESNET, train="lora").build(
        reading(ImageModalityConfig(size=32).build())
    ),
    "too long": lambda part_models: PretrainedTextEncoderConfig(source="x").taken_over(
        part_models / "bert", TextModalityConfig(max_length=600), "x.tokenizer"
    ),
    "no WordPieces": lambda part_models: smaller(part_models / "gpt2", vocab_size=300),
    "no room": lambda part_models: smaller(part_models / "bert", vocab_size=10),
    "too deep": lambda part_models: smaller(part_models / "bert", depth=2),
    "layers of several kinds": lambda part_models: hub.shortened(transformers.ModernBertConfig().to_dict(), 2),
    "nothing to make smaller": lambda part_models: PretrainedTextEncoderConfig(architecture=BERT, vocab_size=300),
    "less than nothing": lambda part_models: PretrainedTextEncoderConfig(source="x", depth=-1),
    "other size": lambda part_models: PretrainedImageEncoderConfig(architecture=CLIP).build(
        reading(ImageModalityConfig(size=48).build())
    ),
    "other tokenizer": lambda part_models: PretrainedTextEncoderConfig(architecture={**BERT, "vocab_size": 20}).build(
        reading(WORDS)
    ),
    "unknown architecture": lambda part_models: PretrainedTextEncoderConfig(architecture={"model_type": "future"}).build(
        reading(WORDS)
    ),
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("nothing", "a pretrained part needs source: a name on the Hugging Face hub or a local folder"),
        (
            "no such folder",
            "{root}/gone is neither a folder nor a name on the Hugging Face hub, such as google/vit-base-patch16-224",
        ),
        (
            "no network",
            "google/vit-base-patch16-224 is not a folder here, and the Hugging Face hub cannot be reached; where there is a "
            "network, run `hf download google/vit-base-patch16-224 --local-dir FOLDER`, then give that folder",
        ),
        ("not a model", "{root} has no config.json; it is not the folder of a Hugging Face model"),
        (
            "text model for pictures",
            "{root}/bert holds a bert model, which does not encode images; give a vision encoder such as ViT, ResNet or CLIP",
        ),
        (
            "decoder for pictures",
            "{root}/gpt2 holds a gpt2 model, which does not encode images; give a vision encoder such as ViT, ResNet or CLIP",
        ),
        (
            "pictures for text",
            "{root}/vit holds a vit model, which does not encode text; give a text model such as BERT or GPT-2",
        ),
        (
            "pictures for writing",
            "{root}/resnet holds a resnet model, which does not write text; give a causal language model such as GPT-2",
        ),
        ("no cross-attention", "the llama model has no place for cross-attention; choose reads: prefix"),
        (
            "no keys and values",
            "the mamba model keeps no keys and values of what it has read; give a transformer such as GPT-2",
        ),
        ("no linear layer", "train: lora needs linear layers, and this model has none; choose frozen or full"),
        ("too long", "max_length is 600; the bert model reads at most 512 tokens"),
        (
            "no WordPieces",
            "vocab_size is 300, but the tokenizer in {root}/gpt2 is BPE, and only WordPieces can be left out; leave vocab_size "
            "at 0",
        ),
        (
            "no room",
            "vocab_size is 10, but the special tokens and single characters of the tokenizer in {root}/bert are 61; give at "
            "least as many",
        ),
        ("too deep", "depth is 2; it must be at most 1, the layers of the bert model"),
        (
            "layers of several kinds",
            "the layers of the modernbert model are of several kinds and belong together; leave depth at 0",
        ),
        (
            "nothing to make smaller",
            "vocab_size and depth make a model smaller when it is taken over; give them together with its source",
        ),
        ("less than nothing", "depth is -1; it must be at least 0"),
        (
            "other size",
            "the clip_vision_model model does not take images of 48 pixels (Input image size (48*48) doesn't match model "
            "(32*32).)",
        ),
        ("other tokenizer", "the tokenizer has 259 tokens and the bert model 20; they are of different models"),
        (
            "unknown architecture",
            f"model.json asks for a future model, which transformers {transformers.__version__} lacks; update transformers",
        ),
    ],
)
def test_what_can_be_wrong_with_a_source_is_told(
    wrong: str, message: str, part_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as told:
        WRONG[wrong](part_models)
    assert str(told.value) == message.format(root=part_models)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("config", r".*/bert/config.json cannot be read \(It looks like the config file at .* is not a valid JSON file.*\)"),
        ("cut", r"the weights in .*/bert cannot be read \(Error while deserializing header: .*\); copy the folder again"),
        ("gone", r"the weights in .*/bert cannot be read \(.* no file named model.safetensors.*\); copy the folder again"),
        ("lacking", r"the weights in .*/bert lack 1 parameters, first embeddings.word_embeddings.weight; copy the folder again"),
        ("no tokenizer", r".*/bert has no tokenizer.json, which says how the model wants its text; copy it, too"),
        ("bad tokenizer", r"the tokenizer in .*/bert cannot be read \(.*\); copy the folder again"),
        (
            "no pictures",
            r".*/vit has no readable preprocessor_config.json, which says how the model prepares its images; copy it, too",
        ),
    ],
)
def test_a_damaged_folder_is_told(damage: str, message: str, part_models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    name = "vit" if damage == "no pictures" else "bert"
    folder = tmp_path / name
    shutil.copytree(part_models / name, folder)
    file = folder / "model.safetensors"
    if damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "gone":
        file.unlink()
    elif damage == "lacking":
        state = load_file(file)
        save_file({key: value for key, value in state.items() if "word_embeddings" not in key}, file, {"format": "pt"})
    elif damage == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif damage == "bad tokenizer":
        (folder / "tokenizer.json").write_text("{")
    elif damage == "no pictures":
        (folder / "preprocessor_config.json").unlink()
    kind, modality = (
        (PretrainedImageEncoderConfig, ImageModalityConfig())
        if name == "vit"
        else (PretrainedTextEncoderConfig, TextModalityConfig())
    )
    with pytest.raises(UserError, match=f"^{message}$"):
        config, read, tokenizers = kind(source=str(folder)).taken_over(folder, modality, "x.tokenizer")  # type: ignore[arg-type]
        config.build(reading(read.build(*tokenizers.values()))).load(folder)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("transformers", f"pretrained parts need transformers, which is not installed; run: {install_command('hf')}"),
        ("peft", f"train: lora needs peft, which is not installed; run: {install_command('hf')}"),
    ],
)
def test_a_missing_package_is_told(package: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as told:
        PretrainedImageEncoderConfig(architecture=CLIP, train="lora").build(reading(ImageModalityConfig(size=32).build()))
    assert str(told.value) == message
