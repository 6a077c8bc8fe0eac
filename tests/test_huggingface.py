"""Whole Hugging Face models under Braid's verbs: real architectures with small random weights, saved to disk as anybody's."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from braid import api
from braid.errors import UserError
from braid.generation import GenerationConfig
from conftest import Ran
from test_pretrained import configured, tokenizer
from variants import BERT, CLIP, GPT2

FAMILIES = ("blip", "vision-encoder-decoder", "llava", "idefics3")
SQUARE = {"height": 32, "width": 32}
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} ?{% endif %}"
)
LLAMA = {
    "model_type": "llama",
    "vocab_size": 330,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
}


def blip(folder: Path) -> None:
    text = {**BERT, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0, "encoder_hidden_size": 32}
    text["is_decoder"] = True
    vision = {key: value for key, value in CLIP.items() if key != "model_type"}
    del text["model_type"]
    config = transformers.BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    transformers.BlipImageProcessorPil(size=SQUARE).save_pretrained(folder)
    tokenizer("bert").save_pretrained(folder)


def vision_encoder_decoder(folder: Path) -> None:
    vit = {"model_type": "vit", **{key: value for key, value in CLIP.items() if key != "model_type"}}
    gpt2 = configured({**GPT2, "add_cross_attention": True, "is_decoder": True, "bos_token_id": 0, "eos_token_id": 0})
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(configured(vit), gpt2)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = 0
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config.update(decoder_start_token_id=0, pad_token_id=0, eos_token_id=0)
    model.save_pretrained(folder)
    transformers.ViTImageProcessorPil(size=SQUARE).save_pretrained(folder)
    tokenizer("gpt2").save_pretrained(folder)


def llava(folder: Path) -> None:
    words = tokenizer("bert")
    place = words.convert_tokens_to_ids("<image>")
    config = transformers.LlavaConfig(vision_config=CLIP, text_config=LLAMA, image_token_index=place, vision_feature_layer=-1)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    transformers.LlavaProcessor(
        images, words, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    ).save_pretrained(folder)


def idefics3(folder: Path) -> None:
    words = tokenizer("bert")
    words.add_special_tokens({"additional_special_tokens": ["<image>", "<fake_token_around_image>", "<end_of_utterance>"]})
    vision = {key: value for key, value in CLIP.items() if key != "model_type"}
    text = {**LLAMA, "vocab_size": len(words)}
    place = words.convert_tokens_to_ids("<image>")
    config = transformers.Idefics3Config(vision_config=vision, text_config=text, image_token_id=place, scale_factor=2)
    transformers.Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    transformers.Idefics3Processor(images, words, image_seq_len=4, chat_template=CHAT).save_pretrained(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    for seed, make in enumerate((blip, vision_encoder_decoder, llava, idefics3)):
        torch.manual_seed(seed)
        make(root / make.__name__.replace("_", "-"))
    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_captions(family: str, models: Path, photos: Path, braid: Callable[..., Ran]) -> None:
    """In batches as one by one, and with a confidence."""
    arguments = ("caption", photos, "--model", f"hf:{models / family}", "--json")
    found = {size: braid(*arguments, "--beam", 2, "--batch-size", size) for size in (5, 1)}
    assert [ran.code for ran in found.values()] == [0, 0], found[5].err
    together, alone = ([json.loads(line) for line in ran.out.splitlines()] for ran in found.values())
    assert [row["id"] for row in together] == sorted(str(path) for path in photos.iterdir())
    assert [row["text"] for row in together] == [row["text"] for row in alone]
    assert all(row["text"] and 0 < row["confidence"] <= 1 for row in together)
    assert [row["confidence"] for row in together] == pytest.approx([row["confidence"] for row in alone], abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_is_what_transformers_writes(family: str, models: Path, photos: Path) -> None:
    folder, photo = models / family, photos / "0.png"
    loaded = api.load(f"hf:{folder}")
    model, task = loaded.runtime.model, loaded.task("captioning", beam=1)  # type: ignore[attr-defined]
    (ours,) = loaded.captions([photo], beam=1)
    picture = Image.open(photo).convert("RGB")
    if family in ("blip", "vision-encoder-decoder"):
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        given = processor(picture, return_tensors="pt")
        words = transformers.AutoTokenizer.from_pretrained(folder)
    else:
        processor = transformers.AutoProcessor.from_pretrained(folder)
        asked = f"<image>{task.prompt} ?" if family == "idefics3" else f"<image>\n{task.prompt}"  # type: ignore[union-attr]
        given, words = processor(text=[asked], images=[[picture]], return_tensors="pt"), processor.tokenizer
    written = model.generate(**given, max_new_tokens=task.generation.max_length, min_new_tokens=1, do_sample=False, num_beams=1)
    first = given["input_ids"].shape[1] if "input_ids" in given else 0
    assert ours.text == words.decode(written[0, first:], skip_special_tokens=True).strip()
    with torch.no_grad():
        step = model.generate(**given, max_new_tokens=1, min_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    assert ours.token_probabilities[0] == pytest.approx(float(step.scores[0].softmax(-1).max()), abs=1e-4)


def test_predict_and_evaluate_take_them_too(models: Path, photos: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    rows = [{"image": f"photos/{k}.png", "question": "what is it?", "answer": "a dog", "split": "val"} for k in range(3)]
    with open(tmp_path / "questions.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "image": "photos/gone.png"}])
    model = f"hf:{models / 'llava'}"
    ran = braid("predict", model, tmp_path / "questions.csv", "-o", tmp_path / "answered.csv", "--task", "vqa", "--beam", 1)
    assert ran.code == 1 and "gone.png does not exist" in ran.err
    with open(tmp_path / "answered.csv", newline="") as file:
        answered = list(csv.DictReader(file))
    assert all(row["prediction"] and float(row["confidence"]) > 0 for row in answered[:3]) and answered[3]["error"]
    scored = braid("evaluate", "--task", "vqa", "--data", tmp_path / "questions.csv", "--model", model, "--beam", 1, "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out) == {"accuracy": 0.0, "num_samples": 3}


def test_sampling_follows_its_seed(models: Path, photos: Path) -> None:
    loaded = api.load(f"hf:{models / 'blip'}")
    batch = loaded.collator([loaded.task("captioning").prepare(example) for example in examples(photos)]).batch
    settings = [GenerationConfig(method="sample", max_length=8, seed=seed) for seed in (0, 0, 1)]
    texts = [[found.text for found in loaded.runtime.write("text", batch, config)] for config in settings]
    assert texts[0] == texts[1] != texts[2]


def examples(photos: Path) -> list[Any]:
    from braid.records import Example

    return [Example(path.name, {"image": path}, source=path.name) for path in sorted(photos.iterdir())]


def test_what_they_cannot_do_is_told(models: Path, photos: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    folder = tmp_path / "bert"
    transformers.AutoModel.from_config(configured(BERT)).save_pretrained(folder)
    photo, whole = photos / "0.png", models / "blip"
    table = tmp_path / "table.jsonl"
    table.write_text(json.dumps({"image": str(photo), "caption": "a dog", "split": "val"}))
    told = {
        ("caption", photo, "--model", f"hf:{folder}"): f"{folder} holds a bert model, which does not describe pictures; give an "
        "image-to-text model such as BLIP",
        ("caption", photo, "--model", f"hf:{tmp_path / 'gone'}"): f"{tmp_path / 'gone'} is neither a folder nor a name on the "
        "Hugging Face hub, such as google/vit-base-patch16-224",
        ("complete", "a dog", "--model", f"hf:{whole}"): f"{whole} is a Hugging Face model, which writes whole texts only: "
        "caption, predict, evaluate",
        ("evaluate", "--data", table, "--model", f"hf:{whole}", "--record"): f"{whole} has no interface.json to record figures "
        "in; leave out --record",
        ("evaluate", "--task", "vqa", "--data", table, "--model", f"hf:{whole}"): "this model was not trained for vqa; it does "
        "captioning",
    }
    for arguments, message in told.items():
        ran = braid(*arguments)
        assert (ran.code, ran.err) == (1, f"error: {message}\n")
    with pytest.raises(UserError, match=f"^hf:{whole} runs on torch only; leave the runtime out$"):
        api.load(f"hf:{whole}", runtime="onnx")


def test_a_folder_without_its_processor_is_told(models: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "blip"
    shutil.copytree(models / "blip", folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"^.*/blip lacks what prepares its pictures and text, or it cannot be read \(.*\)$"):
        api.load(f"hf:{folder}")
