"""A pretrained text encoder made smaller when a run takes it over: fewer WordPieces, fewer layers, the same features."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from braid.bundle import read_bundle
from braid.datasets import open_dataset
from braid.encoders import PretrainedTextEncoder, PretrainedTextEncoderConfig
from braid.huggingface import hub
from braid.layers.context import BuildContext
from braid.modalities import TextModality, TextModalityConfig, Tokenizer
from braid.records import Padded
from braid.runtime.torch import load_model
from braid.training import Watcher, run_from, train

SENTENCES = ("A man riding a horse on the beach.", "Zwei Hunde", "naïve café ☕, unaffable!", "a " * 90)


def taken(folder: Path, texts: Sequence[str] = (), **settings: Any) -> tuple[PretrainedTextEncoder, TextModality]:
    """A pretrained text encoder as a run takes it over and a bundle keeps it, in use."""
    part = PretrainedTextEncoderConfig(source=str(folder), **settings)
    config, modality_config, tokenizers = part.taken_over(folder, TextModalityConfig(max_length=64), "x.tokenizer", texts)
    assert (config.source, config.vocab_size, config.depth) == ("", 0, 0)
    modality = modality_config.build(Tokenizer.from_json(tokenizers["x.tokenizer"].to_json()))
    encoder = config.build(BuildContext("x", {"x": modality}))
    encoder.load(folder)
    return encoder.eval(), modality


def features(encoder: PretrainedTextEncoder, modality: TextModality, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = modality.pad([modality.prepare(text) for text in texts])
    mask = torch.from_numpy(batch.mask)
    with torch.no_grad():
        return encoder(Padded(torch.from_numpy(batch.values), mask)).values, mask


def test_a_smaller_minilm_reads_its_own_words_as_the_whole_one_does(minilm: Path) -> None:
    whole, small = taken(minilm), taken(minilm, SENTENCES, vocab_size=2100)
    theirs, mask = features(*whole, SENTENCES)
    ours, _ = features(*small, SENTENCES)
    difference = float((ours - theirs)[mask].abs().max())
    print(f"MiniLM of {small[1].vocab_size} WordPieces: largest difference of {ours.shape} features {difference}")
    assert difference < 1e-6
    sizes = [sum(parameter.numel() for parameter in encoder.parameters()) for encoder, _ in (whole, small)]
    assert small[1].vocab_size == 2100 and sizes[0] - sizes[1] == (30522 - 2100) * 384
    settings = small[0].network.config
    assert (settings.vocab_size, settings.pad_token_id) == (2100, 0)


def test_a_smaller_minilm_reads_any_text_still(minilm: Path) -> None:
    small, whole = taken(minilm, SENTENCES, vocab_size=2100)[1].tokenizer, hub.tokenizer(minilm)
    pieces = sorted(small.vocabulary, key=small.vocabulary.__getitem__)
    assert pieces[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] and small.special == (0, 2, 3)
    for text in ("Unquestionably", "東京 ﬁn Ω≈ß½", "q9z ##a [unused7] 🙂"):
        spelled = small.encode(text)
        assert small.decode(spelled).replace(" ", "") == whole.decode(whole.encode(text)).replace(" ", "")
        assert spelled.count(small.vocabulary["[UNK]"]) == whole.encode(text).count(whole.vocabulary["[UNK]"])
    assert len(small.encode("Unquestionably")) > len(whole.encode("Unquestionably")) and small.encode("[SEP]") == []
    order = [whole.vocabulary[piece] for piece in pieces]
    assert order == sorted(order) and {"beach", "horse"} <= {*pieces}
    # What no sentence uses fills up, the frequent pieces first, and never those that stand for no text.
    assert {"and", "was"} <= {*pieces} and not any(piece.startswith("[unused") for piece in pieces)


def test_the_first_layers_give_what_they_gave_in_the_whole_model(minilm: Path) -> None:
    encoder, modality = taken(minilm, SENTENCES, depth=2, vocab_size=3000)
    ours, mask = features(encoder, modality, SENTENCES)
    whole, words = taken(minilm)
    batch = words.pad([words.prepare(text) for text in SENTENCES])
    given = {"input_ids": torch.from_numpy(batch.values), "attention_mask": mask.long()}
    with torch.no_grad():
        theirs = whole.network(**given, output_hidden_states=True).hidden_states[2]
    assert len(encoder.network.encoder.layer) == 2 and float((ours - theirs)[mask].abs().max()) < 1e-6


def stop(record: dict[str, float]) -> None:
    raise KeyboardInterrupt


def test_a_run_s_own_texts_choose_the_words(part_models: Path, tmp_path: Path) -> None:
    """Stopped and resumed, and in one go: the same words. The bundle keeps them, with the source's weights for them."""
    config = run_from(
        {
            "task": "vqa",
            "data": {"path": "scenes:vqa,train=32,val=8,test=1,compositional=1,size=32"},
            "model": "tiny",
            "inputs": {"image": {"kind": "image", "size": 32}, "prompt": {"kind": "text", "max_length": 24}},
            "tokenizer": {"vocab_size": 300},
            "epochs": 1,
            "batch_size": 16,
            "workers": 0,
            "threads": 1,
            "checkpoint_steps": 1,
        },
        [f"model.encoders.prompt={{kind: pretrained_text, source: {part_models / 'bert'}, vocab_size: 70}}"],
    )
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", watcher=Watcher(on_step=stop))
    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "again")
    bundle, again = (read_bundle(tmp_path / name / "best") for name in ("run", "again"))
    kept, whole = bundle.tokenizers["prompt.tokenizer"].vocabulary, hub.tokenizer(part_models / "bert")
    assert len(kept) == 70 and kept == again.tokenizers["prompt.tokenizer"].vocabulary
    samples = map(config.task.prepare, open_dataset(config.data.path).split("train"))
    asked = Counter(token for sample in samples for token in whole.encode(sample.inputs["prompt"]))
    words = {
        piece: asked[token] for piece, token in whole.vocabulary.items() if len(piece.strip("#")) > 1 and piece[0] not in "[<"
    }
    lost = [uses for piece, uses in words.items() if piece not in kept]
    chosen = [uses for piece, uses in words.items() if piece in kept]
    assert chosen and lost and min(chosen) >= max(lost) and max(chosen) > 0
    rows = load_model(bundle).encoders["prompt"].network.embeddings.word_embeddings.weight
    own = transformers.AutoModel.from_pretrained(part_models / "bert").embeddings.word_embeddings.weight
    assert all(torch.equal(rows[number], own[whole.vocabulary[piece]]) for piece, number in kept.items())
