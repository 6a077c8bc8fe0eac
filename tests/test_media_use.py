"""Recordings and clips in use: Python, the command line, the server; explanations over their time."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import braid as library
from braid import config
from braid.encoders import EncoderConfig
from braid.errors import UserError
from braid.media import Clip
from braid.modalities import AudioModalityConfig, thumbnail_uri
from braid.server import Access, Limits
from braid.server.app import application
from braid.server.endpoints import Service
from braid.server.guard import Metrics
from braid.server.models import open_catalogue
from braid.server.uploads import Uploads
from braid.training import run_from
from braid.training.setup import set_up
from conftest import Ran
from heard import RATE, SIZE, HeardEncoderConfig, gif, image_model, moving, mp4, ogg, tone, wav, write_hearing_model
from test_training import TINY

Braid = Callable[..., Ran]
WAV, OTHER = wav(tone(1.0)), wav(tone(1.5, 2000.0))
CLIP, SILENT = mp4(moving(), sound=tone(2.0)), mp4(moving(1))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a model that hears and sees, another one that sees images, and files."""
    config.add_kind(EncoderConfig, HeardEncoderConfig)
    folder = tmp_path_factory.mktemp("media")
    write_hearing_model(folder / "model")
    image_model(folder / "images")
    (folder / "files").mkdir()
    files = {"dog.wav": WAV, "cat.ogg": ogg(tone(0.7, 900.0)), "clip.mp4": CLIP, "silent.mp4": SILENT}
    for name, content in files.items():
        (folder / "files" / name).write_bytes(content)
    yield folder
    config.remove_kind(EncoderConfig, HeardEncoderConfig)


@pytest.fixture(scope="module")
def client(media: Path) -> Iterator[TestClient]:
    limits, monitoring = Limits(), Metrics()
    catalogue = open_catalogue([str(media / "model"), str(media / "images")], None, limits, monitoring)
    service = Service(catalogue, Uploads(10**6, lambda url: CLIP), limits, monitoring)
    with TestClient(application(service, Access()), base_url="http://localhost") as opened:
        yield opened


def uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def test_python_reads_paths_bytes_samples_and_frames(media: Path) -> None:
    model = library.load(media / "model")
    dog, clip = media / "files" / "dog.wav", media / "files" / "clip.mp4"
    given = {
        one.label: dict(one.scores)
        for one in (model.classify(audio=dog), model.classify(audio=WAV), model.classify(dog), model.classify(str(dog)))
    }
    assert len(given) == 1
    assert model.classify(audio=(tone(1.0), RATE)).scores == pytest.approx(model.classify(audio=dog).scores, abs=0.05)
    frames = np.stack(moving())
    assert model.caption(video=clip) == model.caption(video=CLIP) == model.caption(clip) != ""
    assert np.allclose(model.embed([dog]), model.embed(audio=dog)) and np.allclose(model.embed(clip), model.embed(video=clip))
    assert model.classify(video=frames).label in ("cat", "dog", "star")
    assert model.embed(video=frames).shape == (1, 32) and model.embed(audio=(tone(), RATE)).shape == (1, 32)
    assert model.embed(audio=[dog, dog], video=[clip]).shape == (3, 32)
    assert model.classify(audio=Clip(str(dog), 0.2, 0.6)).scores != model.classify(audio=dog).scores
    with pytest.raises(UserError, match="this model reads no audio; it reads image, prompt, so leave the audio out"):
        library.load(media / "images").answer(audio=dog, question="what is it?")


def test_the_command_line_reads_any_file_by_its_input(media: Path, braid: Braid) -> None:
    files = media / "files"
    (line,) = braid("classify", files / "cat.ogg", "-m", media / "model", "--json").out.splitlines()
    assert json.loads(line)["label"] in ("cat", "dog", "star")
    ran = braid("caption", files / "clip.mp4", files / "silent.mp4", "-m", media / "model", "--json")
    assert ran.code == 0 and len(ran.out.splitlines()) == 2, ran.err
    ran = braid("ask", files / "clip.mp4", "what moves left?", "-m", media / "model", "--json")
    assert json.loads(ran.out)["question"] == "what moves left?"
    ran = braid("explain", files / "dog.wav", "-m", media / "model", "--json")
    assert ran.code == 0 and json.loads(ran.out)["inputs"]["audio"]["times"][0] == [0.0, 0.1], ran.err
    ran = braid("caption", files / "dog.wav", "-m", media / "images")
    assert ran.code == 1 and "Traceback" not in ran.err


def test_any_modality_finds_any_other(media: Path, braid: Braid, tmp_path: Path) -> None:
    place, model = tmp_path / "media.index", media / "model"
    assert braid("index", media / "files", "-o", place, "-m", model).code == 0
    files = media / "files"
    (first, *rest) = braid("search", place, "--audio", files / "dog.wav", "-m", model, "--json").out.splitlines()
    assert json.loads(first)["id"].endswith("dog.wav") and len(rest) == 3
    (first, *_) = braid("search", place, "--video", files / "clip.mp4", "-m", model, "--json").out.splitlines()
    assert json.loads(first)["id"].endswith("clip.mp4")
    page = tmp_path / "found.html"
    assert braid("search", place, "a dog", "--audio", files / "cat.ogg", "-m", model, "--html", page).code == 0
    assert page.read_text().count("data:image/png") == 3 and page.read_text().count("data:image/jpeg") == 2
    ran = braid("search", place, "--image", files / "gone.png", "-m", model)
    assert ran.code == 1 and "Traceback" not in ran.err


def test_a_clip_is_heard_if_the_model_hears_clips(media: Path, client: TestClient, tmp_path: Path) -> None:
    plain = library.load(media / "model")
    clip, silent, other = (str(media / "files" / name) for name in ("clip.mp4", "silent.mp4", "dog.wav"))
    shutil.copytree(media / "model", tmp_path / "hears")
    said = (tmp_path / "hears" / "interface.json").read_text()
    assert '"sound_of": ""' in said
    (tmp_path / "hears" / "interface.json").write_text(said.replace('"sound_of": ""', '"sound_of": "video"'))
    model = library.load(tmp_path / "hears")
    both = plain.classify(video=clip, audio=clip).scores
    assert model.classify(clip).scores == both != plain.classify(clip).scores
    assert model.classify(silent).scores == plain.classify(silent).scores
    assert model.classify(clip, audio=other).scores == plain.classify(video=clip, audio=other).scores
    catalogue = open_catalogue([str(tmp_path / "hears")], None, Limits(), Metrics())
    service = Service(catalogue, Uploads(10**6, lambda url: CLIP), Limits(), Metrics())
    with TestClient(application(service, Access()), base_url="http://localhost") as hears:
        items = [{"video": uri(content, "video/mp4")} for content in (CLIP, SILENT)]
        answers = hears.post("/v1/classify", json={"items": items}).json()["results"]
    for answer, file in zip(answers, (clip, silent), strict=True):
        assert answer["scores"] == pytest.approx(model.classify(file).scores, abs=1e-3)


def test_training_on_clips_and_their_own_sound_hears_clips(media: Path, tmp_path: Path) -> None:
    """The same column is read as video and as audio; recordings from a column of their own are no sound of clips."""
    clip, other = (str(media / "files" / name) for name in ("clip.mp4", "dog.wav"))
    rows = [
        {"file": clip, "own": other, "label": label, "split": split} for label in ("cat", "dog") for split in ("train", "val")
    ]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = {"kind": "vit", "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
    encoders = {
        "video": {"kind": "video_shift", "frame": frame, "width": 16},
        "audio": {"kind": "audio_transformer", "width": 16, "depth": 1, "heads": 2},
    }
    for column, heard in (("file", "video"), ("own", "")):
        columns = {"video": "file", "audio": column, "label": "label"}
        run = {
            **TINY,
            "task": "classification",
            "data": {"path": str(tmp_path / "clips.jsonl"), "columns": columns},
            "model": {"width": 16, "encoders": encoders, "decoders": {"label": {"kind": "classes"}}},
            "inputs": {"video": {"kind": "video", "size": SIZE}, "audio": {"kind": "audio"}},
        }
        assert set_up(run_from(run, [])).interface.inputs["audio"].sound_of == heard  # type: ignore[union-attr]


def test_the_server_reads_uploads_and_data_uris(client: TestClient, media: Path) -> None:
    (one,) = client.post("/v1/classify", json={"audio": uri(WAV, "audio/wav")}).json()["results"]
    (same,) = client.post("/v1/classify", files={"audio": ("dog.wav", WAV)}).json()["results"]
    expected = library.load(media / "model").classify(audio=WAV)
    assert one == same and one["label"] == expected.label
    recorded = uri(ogg(tone()), 'audio/webm;codecs="opus"'), uri(ogg(tone()), "audio/webm;codecs=opus,pcm")
    items = [{"audio": one} for one in recorded]
    assert len(client.post("/v1/classify", json={"items": items}).json()["results"]) == 2
    (one,) = client.post("/v1/caption", files={"video": ("clip.mp4", CLIP)}).json()["results"]
    assert one["text"]
    body = {"video": uri(gif(moving()), "image/gif"), "question": "what moves?"}
    assert client.post("/v1/answer", json=body).json()["results"][0]["confidence"] >= 0
    fetched = client.post("/v1/caption", json={"video": "https://example.org/clip.mp4"}).json()
    assert fetched["results"][0]["text"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("classify", {"audio": uri(b"RIFF1234", "audio/wav")}, "the audio"),
        ("classify", {"audio": uri(b"", "audio/wav")}, "audio is empty"),
        ("classify", {"audio": uri(SILENT, "video/mp4")}, "the audio"),
        ("classify", {"audio": uri(WAV[:30], "audio/wav")}, "the audio"),
        ("caption", {"video": uri(WAV, "audio/wav")}, "the video"),
        ("caption", {"video": uri(CLIP[:300], "video/mp4")}, "the video"),
        ("caption", {"video": uri(b"#EXTM3U\nhttp://127.0.0.1/secret", "application/x-mpegURL")}, "the video"),
        ("classify", {"audio": uri(b"#EXTM3U\nfile:///etc/passwd", "audio/x-mpegurl")}, "the audio"),
        ("caption", {"video": uri(b"ffconcat version 1.0\nfile /etc/passwd", "video/mp4")}, "the video"),
        ("classify", {"audio": "not base64!"}, "audio is not base64"),
        ("classify", {"audio": "file:///etc/passwd"}, "audio must be a data URI, base64, or an http address"),
        ("classify", {"model": "images", "audio": "UklGRg=="}, "does not do classification"),
    ],
)
def test_a_damaged_or_foreign_upload_is_one_clear_sentence(client: TestClient, path: str, body: Any, said: str) -> None:
    answer = client.post(f"/v1/{path}", json=body)
    message = answer.json()["error"]["message"]
    assert answer.status_code == 400 and said in message and "passwd" not in message and "\n" not in message


def chat(client: TestClient, *parts: dict[str, Any], model: str = "model") -> Any:
    return client.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": [*parts]}]})


def test_openai_clients_send_sound_and_clips(client: TestClient) -> None:
    ask = {"type": "text", "text": "what is this?"}
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}}
    clip = {"type": "video_url", "video_url": {"url": uri(CLIP, "video/mp4")}}
    for parts in ([ask, sound], [ask, clip], [ask, sound, clip]):
        assert chat(client, *parts).json()["choices"][0]["message"]["content"]
    described = {"type": "text", "text": "What is happening in this video?"}
    (caption,) = client.post("/v1/caption", json={"video": uri(CLIP, "video/mp4")}).json()["results"]
    assert chat(client, described, clip).json()["choices"][0]["message"]["content"] == caption["text"]
    embedded = client.post("/v1/embeddings", json={"model": "model", "input": [uri(WAV, "audio/wav"), "a dog"]}).json()
    assert [len(one["embedding"]) for one in embedded["data"]] == [32, 32]


@pytest.mark.parametrize(
    ("parts", "model", "said"),
    [
        ([{"type": "input_audio", "input_audio": "UklGRg=="}], "model", 'send an object, {"data": "...", "format": "wav"}'),
        ([{"type": "video_url", "video_url": "x"}], "model", 'send an object, {"url": "data:video/mp4;base64,..."}'),
        ([{"type": "input_audio", "input_audio": {}}], "model", "data: field required"),
        ([{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}] * 2, "model", "these are 2 recordings; ask about one"),
        ([{"type": "video_url", "video_url": {"url": "AA=="}}] * 3, "model", "these are 3 clips; ask about one at a time"),
        ([{"type": "video_url", "text": "x", "video_url": {"url": "AA=="}}], "model", "a part of type video_url has no text"),
        ([{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}], "images", "this model does not read audio; it reads"),
        ([{"type": "text", "text": "hello?"}], "images", "send an image, as a content part of type image_url"),
    ],
)
def test_a_wrong_part_of_sound_or_video_is_told(client: TestClient, parts: list[Any], model: str, said: str) -> None:
    answer = chat(client, *parts, model=model)
    assert answer.status_code == 400 and said in answer.json()["error"]["message"], answer.text


def test_the_server_explains_moments(client: TestClient) -> None:
    body = {"audio": uri(WAV, "audio/wav"), "video": uri(CLIP, "video/mp4"), "explain": True}
    answer = client.post("/v1/classify", json=body)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    (word,) = result["explanation"]["words"]
    assert word["heat"] == [] and set(word["units"]) == {"audio", "video"}
    heard, seen = word["units"]["audio"], word["units"]["video"]
    assert [one["start"] for one in heard] == sorted(one["start"] for one in heard) and heard[0]["name"] == "0-0.1 s"
    assert len(seen) == 4 and seen[-1]["end"] == pytest.approx(2.0, abs=0.3)
    assert set(result["explanation"]["shares"]) == {"audio", "video"}


def test_the_page_knows_what_the_models_read(client: TestClient) -> None:
    able = client.get("/abilities").json()
    accepts = {one["name"]: one["fields"][0].get("accept", "") for one in able["tools"]["classify"]}
    assert accepts["audio"] == "audio/*" and accepts["video"].startswith("video/*")
    assert "media-src data: blob:" in client.get("/").headers["content-security-policy"]


def test_an_explanation_is_in_the_seconds_of_the_file(media: Path, tmp_path: Path) -> None:
    """Of a recording of six seconds, the model reads the two in the middle; of a part, its own."""
    path = tmp_path / "long.wav"
    path.write_bytes(wav(np.concatenate([tone(2.0, loud=0.0), tone(2.0), tone(2.0, loud=0.0)])))
    model = library.load(media / "model")
    explained = model.explain(audio=path, graded=False)
    assert explained.method == "occlusion"
    (one,) = [one for one in explained.inputs if one.name == "audio"]
    assert one.times is not None and one.times[0, 0] == pytest.approx(2.0) and one.times[-1, 1] == pytest.approx(4.0, abs=0.1)
    assert one.image is not None and one.image.min() < 200  # the waveform of what is read
    assert one.view.media_type == "audio/wav" and len(one.view.media) == pytest.approx(2 * 2 * RATE, rel=0.1)
    page = explained._repr_html_()
    assert "<audio controls" in page and '<span style="left:50.0%;transform:translateX(-50%)">3 s</span>' in page
    part = model.explain(audio=Clip(str(path), 1.0, 2.0), graded=False)
    (heard,) = [one for one in part.inputs if one.name == "audio"]
    assert heard.times is not None and heard.times[0, 0] == pytest.approx(1.0)
    clip = model.explain(media / "files" / "clip.mp4", audio=path, graded=False)
    (seen,) = [one for one in clip.inputs if one.name == "video"]
    assert seen.boxes is not None and seen.times is not None and seen.times.max() == pytest.approx(2.0, abs=0.3)
    clip.save(tmp_path / "why.html")
    clip.save(tmp_path / "why.png")


def test_thumbnails_of_recordings_and_clips(media: Path) -> None:
    assert thumbnail_uri(media / "files" / "dog.wav", 64).startswith("data:image/png")
    assert thumbnail_uri(str(media / "files" / "clip.mp4"), 64).startswith("data:image/jpeg")
    assert thumbnail_uri(media / "files" / "gone.wav", 64) == ""
    assert AudioModalityConfig.picture((np.zeros(8, np.float32), RATE), 64).media_type == "image/png"
