"""``braid serve`` as OpenAI's own client sees it, and what of OpenAI's API it answers, names as ignored, or refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from braid.api import load
from served import PATIENCE, Server, data_uri, scene

IMAGE = scene(1)
URI = data_uri(IMAGE)


@pytest.fixture(scope="module")
def openai_client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, timeout=PATIENCE) as opened:
        yield opened


def messages(text: str, image: str = URI) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]}]


def test_openai_lists_models(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["every", "drawer", "small"]
    assert openai_client.models.retrieve("small").owned_by == "braid"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt' here"):
        openai_client.models.retrieve("gpt")


def test_openai_chat_describes_and_answers(openai_client: openai.OpenAI, client: httpx.Client) -> None:
    (caption,) = client.post("/v1/caption", json={"image": URI, "model": "small"}).json()["results"]
    result = openai_client.chat.completions.create(model="small", messages=messages("What's in this image?"))
    assert result.choices[0].message.content == caption["text"]
    assert result.choices[0].finish_reason == "stop"
    assert result.choices[0].model_extra is not None
    assert result.choices[0].model_extra["confidence"] == caption["confidence"]
    assert result.usage is not None and result.usage.completion_tokens > 0
    asked = {"image": URI, "question": "what color is it?", "model": "small"}
    (answer,) = client.post("/v1/answer", json=asked).json()["results"]
    bodies = [*messages("Describe the picture."), {"role": "assistant", "content": caption["text"]}]
    bodies.append({"role": "user", "content": "what color is it?"})  # about the image that was shown before
    assert openai_client.chat.completions.create(model="small", messages=bodies).choices[0].message.content == answer["text"]


def test_openai_chat_streams(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(model="small", messages=messages("describe it"))
    with openai_client.chat.completions.create(
        model="small", messages=messages("describe it"), stream=True, stream_options={"include_usage": True}
    ) as stream:
        pieces = list(stream)
    assert pieces[0].choices[0].delta.role == "assistant"
    assert len(pieces) > 4
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == whole.choices[0].message.content
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].usage == whole.usage
    cut = openai_client.chat.completions.create(model="small", messages=messages("describe it"), max_tokens=2)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None and cut.usage.completion_tokens == 2


def test_openai_embeddings(openai_client: openai.OpenAI, served_models: dict[str, Path]) -> None:
    result = openai_client.embeddings.create(model="every", input=["a dog", URI])  # base64 by default
    expected = load(served_models["every"]).embed([IMAGE], ["a dog"])[::-1]
    assert np.allclose([one.embedding for one in result.data], expected, atol=1e-5)
    for spelled in (URI.replace("data:image/png;base64", "DATA:IMAGE/PNG;BASE64"), URI.replace("image/png", ""), f" {URI}"):
        result = openai_client.embeddings.create(model="every", input=[spelled])  # an image, too, and never a text
        assert np.allclose(result.data[0].embedding, expected[1], atol=1e-5)
    for unread in ("data:image/png,abc", "data:;base64,", "DATA:audio/wav;base64,aGk="):
        with pytest.raises(openai.BadRequestError, match="the data URI is not|is empty|does not read audio"):
            openai_client.embeddings.create(model="every", input=[unread])
    plain = openai_client.embeddings.create(model="every", input="a dog", encoding_format="float")
    assert np.allclose(plain.data[0].embedding, expected[0], atol=1e-5)


def test_openai_errors(openai_client: openai.OpenAI) -> None:
    create: Any = openai_client.chat.completions.create
    with pytest.raises(openai.BadRequestError, match="send an image, as a content part of type image_url"):
        create(model="small", messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(openai.BadRequestError, match="not a file of JPEG"):
        create(model="small", messages=messages("describe it", data_uri(b"GIF89")))
    with pytest.raises(openai.BadRequestError, match="n: input should be less than or equal to 1"):
        create(model="small", messages=messages("describe it"), n=2)
    with pytest.raises(openai.BadRequestError, match="tools: "):
        create(model="small", messages=messages("describe it"), tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.BadRequestError, match="does not do retrieval"):
        openai_client.embeddings.create(model="drawer", input="a dog")


SHOWN = {"type": "image_url", "image_url": {"url": URI}}


def chat(client: httpx.Client, content: Any, model: str = "every", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return client.post("/v1/chat/completions", json=body)


def refusal(answer: httpx.Response) -> tuple[str, str]:
    """The field and the message."""
    assert answer.status_code == 400, answer.text
    result = answer.json()["error"]
    return str(result["param"]), str(result["message"])


CHOOSE = "choose from image_url, input_audio, text, video_url"
PART = '{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}'


@pytest.mark.parametrize(
    ("part", "place", "message"),
    [
        (
            {"type": "image", "image": URI},
            "",
            f"there is no part of type 'image'; {CHOOSE}, and send an image as {PART}",
        ),
        (
            {"type": "input_image", "image_url": URI},
            "",
            f"there is no part of type 'input_image'; {CHOOSE}, and send an image as {PART}",
        ),
        (
            {"image_url": {"url": URI}},
            "",
            f"this part has no type; {CHOOSE}, and send an image as {PART}",
        ),
        (5, "", f"this is a number; send a part such as {PART}"),
        (None, "", f"this is null; send a part such as {PART}"),
        ({"type": "image_url"}, "", "a part of type image_url needs the field image_url"),
        ({"type": "text", "text": None}, "", "a part of type text needs the field text"),
        (
            {"type": "text", "text": "a", "image_url": {"url": URI}},
            "",
            "a part of type text has no image_url; send it as a part of its own",
        ),
        (
            {"type": "image_url", "image_url": URI},
            ".image_url",
            'this is a text; send an object, {"url": "data:image/png;base64,..."}',
        ),
        ({"type": "image_url", "image_url": {"url": ""}}, ".image_url.url", "string should have at least 1 character"),
        ({"type": "image_url", "image_url": {"uri": URI}}, ".image_url.uri", "there is no such field; choose from detail, url"),
        ({"type": "text", "text": 5}, ".text", "input should be a valid string"),
    ],
)
def test_a_wrong_part_is_said_in_terms_of_what_was_sent(client: httpx.Client, part: Any, place: str, message: str) -> None:
    param, said = refusal(chat(client, [{"type": "text", "text": "what is it?"}, part]))
    assert param == f"messages.0.content.1{place}"
    assert said.removeprefix(f"{param}: ").startswith(message)


def test_other_wrong_conversations(client: httpx.Client) -> None:
    assert refusal(chat(client, 5))[1] == f"messages.0.content: this is a number; send a text, or a list of parts such as {PART}"
    assert refusal(chat(client, "a", message="b"))[1].startswith("message: there is no such field; choose from ")
    both = [{"type": "text", "text": "which is larger?"}, SHOWN, SHOWN]
    assert refusal(chat(client, both))[1] == "these are 2 images; ask about one at a time"
    asked = [{"role": "user", "content": [SHOWN]}, {"role": "assistant", "content": "a dog"}]
    answer = client.post("/v1/chat/completions", json={"model": "every", "messages": asked})
    assert refusal(answer)[1] == "the last message is not of the role user; ask something"
    tool = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": "b"},
    ]
    answer = client.post("/v1/chat/completions", json={"model": "every", "messages": tool})
    assert refusal(answer)[1] == "messages.1.tool_calls: this server calls no tools; leave it out"
    assert refusal(chat(client, "a" * 20_001))[1] == "the text has 20,001 characters; a text may have 20,000"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"type": "function"}]}, "tools: this server calls no tools; leave it out"),
        ({"tool_choice": "required"}, "tool_choice: this server calls no tools; leave it out"),
        ({"functions": [{"name": "f"}]}, "functions: this server calls no tools; leave it out"),
        ({"response_format": {"type": "json_object"}}, "response_format: an answer is plain text; leave it out"),
        ({"modalities": ["text", "audio"]}, "modalities: an answer is text; leave it out"),
        ({"logprobs": True}, "logprobs: log probabilities are not given; read confidence and scores of the choice"),
        ({"top_logprobs": 3}, "top_logprobs: log probabilities are not given; read confidence and scores of the choice"),
        ({"logit_bias": {"5": 1}}, "logit_bias: words are neither preferred nor avoided; leave it out"),
        ({"presence_penalty": 0.5}, "presence_penalty: an answer is the model's best, without penalties; leave it out"),
        ({"frequency_penalty": -1}, "frequency_penalty: an answer is the model's best, without penalties; leave it out"),
        ({"n": 2}, "n: input should be less than or equal to 1"),
        ({"temperature": 3}, "temperature: input should be less than or equal to 2"),
        ({"stop": ["a"] * 5}, "stop: list should have at most 4 items after validation, not 5"),
        ({"max_token": 5}, "max_token: there is no such field; choose from "),
    ],
)
def test_what_cannot_be_honoured_is_refused(client: httpx.Client, fields: dict[str, Any], message: str) -> None:
    assert refusal(chat(client, [SHOWN], **fields))[1].startswith(message)


def test_fields_that_ask_for_nothing_pass(client: httpx.Client) -> None:
    plain = chat(client, [SHOWN]).json()
    harmless = {"user": "me", "metadata": {"a": "b"}, "store": False, "stream_options": None, "service_tier": "auto"}
    nothing = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}, "logprobs": False, "logit_bias": None}
    nothing |= {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "seed": 7, "stop": None, "parallel_tool_calls": True}
    answer = chat(client, [SHOWN], **harmless, **nothing)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"] == plain["choices"] and "ignored" not in answer.json()


def test_what_changes_nothing_is_named_in_the_answer(client: httpx.Client) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello!", "refusal": None},
        {"role": "user", "content": [SHOWN]},
        {"role": "user", "content": "describe it"},
    ]
    body = {"model": "small", "messages": turns, "temperature": 0.7, "top_p": None}
    answer = client.post("/v1/chat/completions", json=body).json()
    assert answer["ignored"] == ["messages.0", "messages.1", "temperature"]
    assert answer["choices"] == chat(client, [SHOWN], "small").json()["choices"]  # both messages of the user are read
    streamed = client.post("/v1/chat/completions", json={**body, "stream": True}).text.splitlines()
    assert json.loads(streamed[0].removeprefix("data: "))["ignored"] == answer["ignored"]


def test_an_answer_ends_before_a_stop(client: httpx.Client) -> None:
    whole = chat(client, [SHOWN], "small").json()["choices"][0]["message"]["content"]
    first, second, third = whole.split()[:3]
    for stop in (second, [third, second], [f"{second} {third}"]):
        (choice,) = chat(client, [SHOWN], "small", stop=stop).json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (f"{first} ", "stop")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2, 3], "input.0: token ids are not read; send the text itself"),
        ([[1, 2], [3]], "input.0: token ids are not read; send the text itself"),
        ([], "input: the list is empty; send one text or more"),
        ("", "input: the text is empty; send a text, or leave it out"),
        (["a", ""], "input.1: the text is empty; send a text, or leave it out"),
        (["a", None], "input.1: this is null; send a text"),
        (["a", {"text": "b"}], "input.1: this is an object; send a text"),
        (True, "input: this is true or false; send a text"),
        (None, "input: field required"),
        (["a"] * 65, "65 items; a request may hold 64"),
    ],
)
def test_what_is_no_text_to_embed_is_said(client: httpx.Client, given: Any, message: str) -> None:
    assert refusal(client.post("/v1/embeddings", json={"model": "every", "input": given}))[1] == message


def test_dimensions_are_those_of_the_model(client: httpx.Client) -> None:
    def embedded(**fields: Any) -> httpx.Response:
        return client.post("/v1/embeddings", json={"model": "every", "input": "a", **fields})

    width = len(embedded().json()["data"][0]["embedding"])
    assert embedded(dimensions=width).json() == embedded().json()
    wrong = refusal(embedded(dimensions=width + 1))
    assert wrong == ("dimensions", f"dimensions: the vectors of model 'every' have {width} numbers; leave it out")
