"""Real Hugging Face architectures with small random weights, saved as their makers save them: parts, and whole models."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from variants import BERT, CLIP, GPT2, samples

RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
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


def configured(settings: dict[str, Any]) -> Any:
    return transformers.AutoConfig.for_model(**settings)


def tokenizer(kind: str) -> Any:
    """A fast tokenizer of Hugging Face, trained on the scenes' own words, with that family's special tokens."""
    texts = [text for sample in samples(64) for text in (sample.inputs["prompt"], *sample.targets["text"])]
    if kind == "gpt2":
        fast, special = Tokenizer(models.BPE()), ["<|endoftext|>"]
        fast.pre_tokenizer, fast.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(vocab_size=320, special_tokens=special, show_progress=False)
        roles = {"bos_token": special[0], "eos_token": special[0], "unk_token": special[0]}
    else:
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<image>"]
        fast = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        fast.pre_tokenizer, fast.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=320, special_tokens=special, show_progress=False)
        roles = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **roles)


def save_parts(root: Path) -> None:
    """bert, gpt2, vit, clip and resnet, each with what it needs."""
    torch.manual_seed(0)
    for name, settings in {"bert": BERT, "gpt2": GPT2}.items():
        auto = transformers.AutoModel if name == "bert" else transformers.AutoModelForCausalLM
        auto.from_config(configured(settings)).save_pretrained(root / name)
    tokenizer("bert").save_pretrained(root / "bert")
    tokenizer("gpt2").save_pretrained(root / "gpt2")
    vit = {"model_type": "vit", **{key: value for key, value in CLIP.items() if key != "model_type"}}
    text = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    both = transformers.CLIPConfig(text_config=text, vision_config=CLIP, projection_dim=8)
    for name, config in {"vit": configured(vit), "clip": both, "resnet": configured(RESNET)}.items():
        transformers.AutoModel.from_config(config).save_pretrained(root / name)
    transformers.ViTImageProcessorPil(size=SQUARE, image_mean=[0.1, 0.2, 0.3]).save_pretrained(root / "vit")
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE).save_pretrained(root / "clip")
    transformers.ViTImageProcessorPil(size=SQUARE).save_pretrained(root / "resnet")


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


def save_whole(root: Path) -> None:
    """One of each family, by its name."""
    for seed, make in enumerate((blip, vision_encoder_decoder, llava, idefics3)):
        torch.manual_seed(seed)
        make(root / make.__name__.replace("_", "-"))
