"""Whole Hugging Face models under Braid's verbs: real architectures with small random weights, saved to disk as anybody's."""

import csv
import json
import shlex
import shutil
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
from huggingface_models import configured
from test_readme import DOCS
from variants import BERT

FAMILIES = ("blip", "vision-encoder-decoder", "llava", "idefics3")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_captions(family: str, whole_models: Path, photos: Path, braid: Callable[..., Ran]) -> None:
    """In batches as one by one, and with a confidence."""
    arguments = ("caption", photos, "--model", f"hf:{whole_models / family}", "--json")
    result = {size: braid(*arguments, "--beam", 2, "--batch-size", size) for size in (5, 1)}
    assert [ran.code for ran in result.values()] == [0, 0], result[5].err
    together, alone = ([json.loads(line) for line in ran.out.splitlines()] for ran in result.values())
    assert [row["id"] for row in together] == sorted(str(path) for path in photos.iterdir())
    assert [row["text"] for row in together] == [row["text"] for row in alone]
    assert all(row["text"] and 0 < row["confidence"] <= 1 for row in together)
    assert [row["confidence"] for row in together] == pytest.approx([row["confidence"] for row in alone], abs=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_is_what_transformers_writes(family: str, whole_models: Path, photos: Path) -> None:
    folder, photo = whole_models / family, photos / "0.png"
    loaded = api.load(f"hf:{folder}")
    model, task = loaded.runtime.model, loaded.task("captioning", beam=1)  # type: ignore[attr-defined]
    (ours,) = loaded.captions([photo], beam=1)
    image = Image.open(photo).convert("RGB")
    if family in ("blip", "vision-encoder-decoder"):
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        given = processor(image, return_tensors="pt")
        words = transformers.AutoTokenizer.from_pretrained(folder)
    else:
        processor = transformers.AutoProcessor.from_pretrained(folder)
        asked = f"<image>{task.prompt} ?" if family == "idefics3" else f"<image>\n{task.prompt}"  # type: ignore[union-attr]
        given, words = processor(text=[asked], images=[[image]], return_tensors="pt"), processor.tokenizer
    written = model.generate(**given, max_new_tokens=task.generation.max_length, min_new_tokens=1, do_sample=False, num_beams=1)
    first = given["input_ids"].shape[1] if "input_ids" in given else 0
    assert ours.text == words.decode(written[0, first:], skip_special_tokens=True).strip()
    with torch.no_grad():
        step = model.generate(**given, max_new_tokens=1, min_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    assert ours.token_probabilities[0] == pytest.approx(float(step.scores[0].softmax(-1).max()), abs=1e-4)


def test_predict_and_evaluate_take_them_too(whole_models: Path, photos: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    rows = [{"image": f"photos/{k}.png", "question": "what is it?", "answer": "a dog", "split": "val"} for k in range(3)]
    with open(tmp_path / "questions.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "image": "photos/gone.png"}])
    model = f"hf:{whole_models / 'llava'}"
    ran = braid("predict", model, tmp_path / "questions.csv", "-o", tmp_path / "answered.csv", "--task", "vqa", "--beam", 1)
    assert ran.code == 1 and "gone.png does not exist" in ran.err
    with open(tmp_path / "answered.csv", newline="") as file:
        answered = list(csv.DictReader(file))
    assert all(row["prediction"] and float(row["confidence"]) > 0 for row in answered[:3]) and answered[3]["error"]
    scored = braid("evaluate", "--task", "vqa", "--data", tmp_path / "questions.csv", "--model", model, "--beam", 1, "--json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out) == {
        "accuracy": 0.0,
        "vqa-accuracy": 0.0,
        "num_samples": 3,
        "accuracy/other": 0.0,
        "aurc": 100.0,
    }


def test_sampling_follows_its_seed(whole_models: Path, photos: Path) -> None:
    loaded = api.load(f"hf:{whole_models / 'blip'}")
    batch = loaded.collator([loaded.task("captioning").prepare(example) for example in examples(photos)]).batch
    settings = [GenerationConfig(method="sample", max_length=8, seed=seed) for seed in (0, 0, 1)]
    texts = [[result.text for result in loaded.runtime.write("text", batch, config)] for config in settings]
    assert texts[0] == texts[1] != texts[2]


def examples(photos: Path) -> list[Any]:
    from braid.records import Example

    return [Example(path.name, {"image": path}, source=path.name) for path in sorted(photos.iterdir())]


def test_what_they_cannot_do_is_told(whole_models: Path, photos: Path, tmp_path: Path, braid: Callable[..., Ran]) -> None:
    folder = tmp_path / "bert"
    transformers.AutoModel.from_config(configured(BERT)).save_pretrained(folder)
    photo, whole = photos / "0.png", whole_models / "blip"
    table = tmp_path / "table.jsonl"
    table.write_text(json.dumps({"image": str(photo), "caption": "a dog", "split": "val"}))
    told = {
        ("caption", photo, "--model", f"hf:{folder}"): f"{folder} holds a bert model, which does not describe images; give an "
        "image-to-text model such as BLIP",
        ("caption", photo, "--model", f"hf:{tmp_path / 'gone'}"): f"{tmp_path / 'gone'} is neither a folder nor a name on the "
        "Hugging Face hub, such as google/vit-base-patch16-224",
        ("complete", "a dog", "--model", f"hf:{whole}"): f"{whole} is a Hugging Face model, which writes whole texts only: "
        "caption, predict, evaluate",
        ("evaluate", "--data", table, "--model", f"hf:{whole}", "--record"): f"{whole} has no interface.json to record metrics "
        "in; leave out --record",
        ("evaluate", "--task", "vqa", "--data", table, "--model", f"hf:{whole}"): "this model was not trained for vqa; it does "
        "captioning",
    }
    for arguments, message in told.items():
        ran = braid(*arguments)
        assert (ran.code, ran.err) == (1, f"error: {message}\n")
    with pytest.raises(UserError, match=f"^hf:{whole} runs on torch only; leave the runtime out$"):
        api.load(f"hf:{whole}", runtime="onnx")


def test_a_folder_without_its_processor_is_told(whole_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "blip"
    shutil.copytree(whole_models / "blip", folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"^.*/blip has no processor for images and text, or it cannot be read \(.*\)$"):
        api.load(f"hf:{folder}")


def test_the_commands_of_the_docs_are_true(
    part_models: Path,
    whole_models: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    braid: Callable[..., Ran],
) -> None:
    """With small random models in the place of those that it names, which a folder of that name is enough for."""
    page = (DOCS / "pretrained.md").read_text(encoding="utf-8")
    lines = page.partition("```\n")[2].partition("```")[0].replace("\\\n", " ").splitlines()
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    standing = {
        "sentence-transformers/all-MiniLM-L6-v2": part_models / "bert",
        "google/vit-base-patch16-224": part_models / "vit",
        "gpt2": part_models / "gpt2",
        "Salesforce/blip-image-captioning-base": whole_models / "blip",
    }
    for name, folder in standing.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(folder)
    (tmp_path / "photo.jpg").symlink_to(photos / "0.png")
    rows = [
        {"image": f"photos/{k}.png", "question": "what?", "answer": "a dog", "split": "val" if k > 2 else "train"}
        for k in range(5)
    ]
    for table, columns in (("questions.csv", rows), ("photos.csv", [{**row, "caption": "a dog"} for row in rows])):
        with open(tmp_path / table, "w", newline="") as file:
            writer = csv.DictWriter(file, list(columns[0]))
            writer.writeheader()
            writer.writerows(columns)
    for line in lines:
        _, *arguments = shlex.split(line)
        quick = ["--set", "epochs=1", "--set", "workers=0", "--set", "threads=1"] if arguments[0] == "train" else []
        ran = braid(*arguments, *quick)
        assert ran.code == 0, f"{line}: {ran.err}"
