"""``braid serve`` as its clients see it: a real server in a second process, called by httpx."""

import base64
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from braid.api import load
from served import PATIENCE, Server, data_uri, scene

IMAGE = scene(1)
URI = data_uri(IMAGE)


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["results"]
    return result


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error in OpenAI's form."""
    assert answer.status_code == status, answer.text
    result: dict[str, Any] = answer.json()["error"]
    assert set(result) == {"message", "type", "param", "code"}
    assert "Traceback" not in answer.text
    return result


def test_every_task_answers_as_the_library_does(client: httpx.Client, served_models: dict[str, Path]) -> None:
    model = load(served_models["every"])
    (caption,) = results(client.post("/v1/caption", json={"image": URI}))
    (expected,) = model.captions([IMAGE])
    assert (caption["text"], caption["confidence"]) == (expected.text, round(expected.confidence, 4))
    (answer,) = results(client.post("/v1/answer", json={"image": URI, "question": "what colour is it?"}))
    assert answer["text"] == model.answer(IMAGE, "what colour is it?")
    (label,) = results(client.post("/v1/classify", json={"image": URI, "text": "a dog"}))
    result = model.classify(IMAGE, "a dog")
    assert (label["label"], label["confidence"]) == (result.label, round(result.confidence, 4))
    assert set(label["scores"]) == {"cat", "dog", "star"}
    (own,) = results(client.post("/v1/classify", json={"image": URI, "labels": ["park", "mat"]}))
    assert own["label"] == model.classify(IMAGE, labels=["park", "mat"]).label
    (words,) = results(client.post("/v1/classify", json={"text": "a dog", "labels": ["park", "mat"]}))
    assert words["label"] == model.classify(text="a dog", labels=["park", "mat"]).label
    image, text = results(client.post("/v1/embed", json={"items": [{"image": URI}, {"text": "a dog"}]}))
    assert np.allclose([image["embedding"], text["embedding"]], model.embed([IMAGE], ["a dog"]), atol=1e-5)


def test_an_explanation_says_where_each_word_comes_from(client: httpx.Client, served_models: dict[str, Path]) -> None:
    """Asked for beside plain captions, which stay what they are."""
    bodies = [{"image": URI, "explain": row % 2 == 0} for row in range(8)]
    with ThreadPoolExecutor(8) as pool:
        result = [results(one)[0] for one in pool.map(lambda body: client.post("/v1/caption", json=body), bodies)]
    assert len({one["text"] for one in result}) == 1
    expected = load(served_models["every"]).explain(IMAGE, task="captioning")
    for body, one in zip(bodies, result, strict=True):
        assert ("explanation" in one) == body["explain"]
    words = result[0]["explanation"]["words"]
    assert [word["text"] for word in words] == list(expected.outputs)
    heat = np.array([word["heat"] for word in words])
    assert heat.ndim == 3 and heat.min() >= 0 and heat.max() == 1
    (label,) = results(client.post("/v1/classify", json={"image": URI, "explain": True}))
    assert [word["text"] for word in label["explanation"]["words"]] == [label["label"]]  # not the words of a caption
    (label,) = results(client.post("/v1/classify", json={"text": "a dog", "explain": True}))
    assert [word["heat"] for word in label["explanation"]["words"]] == [[]]


def test_search_finds_the_image_itself(client: httpx.Client) -> None:
    (result,) = results(client.post("/v1/search", json={"image": URI, "top": 3, "thumbnails": True}))
    assert len(result["hits"]) == 3
    best = result["hits"][0]
    assert best["id"].endswith("1.png") and best["score"] == pytest.approx(1, abs=1e-3)
    assert Image.open(io.BytesIO(base64.b64decode(best["thumbnail"].partition(",")[2]))).format == "JPEG"
    both, words = results(client.post("/v1/search", json={"items": [{"image": URI, "text": "a star"}, {"text": "a star"}]}))
    assert len(both["hits"]) == len(words["hits"]) == 5


def test_imagine_draws_what_the_library_draws(client: httpx.Client, served_models: dict[str, Path]) -> None:
    (result,) = results(client.post("/v1/imagine", json={"prompt": "a red star", "count": 2, "seed": 3}))
    generated = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2])))) for one in result["images"]]
    expected = load(served_models["drawer"]).imagine("a red star", count=2, seed=3)
    assert isinstance(expected, list)
    assert all(np.array_equal(one, other) for one, other in zip(generated, expected, strict=True))
    items = [{"prompt": "two cats"}, {"prompt": "a red star " * 9}, {"prompt": "a red star"}]
    _, long, again = results(client.post("/v1/imagine", json={"items": items, "count": 2, "seed": 3}))
    assert again == result
    assert "this model reads at most 14" in long["error"]["message"]


def test_one_bad_image_fails_alone(client: httpx.Client) -> None:
    good, bad, again = results(client.post("/v1/caption", json={"items": [{"image": URI}, {"image": "aGk="}, {"image": URI}]}))
    assert good == again and good["text"] is not None
    assert bad["error"]["code"] == "invalid_item"
    assert "JPEG, PNG, WebP" in bad["error"]["message"]


def test_forms_say_what_json_says(client: httpx.Client) -> None:
    (plain,) = results(client.post("/v1/caption", json={"image": URI}))
    assert results(client.post("/v1/caption", files={"image": ("a.png", IMAGE)})) == [plain]
    two = client.post("/v1/answer", files={"image": ("a.png", IMAGE)}, data={"question": ["what is it?", "where?"]})
    items = [{"image": URI, "question": "what is it?"}, {"image": URI, "question": "where?"}]
    assert results(two) == results(client.post("/v1/answer", json={"items": items}))
    labels = client.post("/v1/classify", files={"image": ("a.png", IMAGE)}, data={"labels": "park, mat"})
    assert set(results(labels)[0]["scores"]) == {"park", "mat"}
    files = [("image", ("a.png", IMAGE))] * 3
    message = error(client.post("/v1/answer", files=files, data={"question": ["one?", "two?"]}), 400)
    assert message["message"] == "question comes 2 times and another field 3 times; give it once or as often"


def test_a_batch_of_many_clients_answers_what_single_requests_do(client: httpx.Client, server: Server) -> None:
    """With the built-in model, whose answers differ from image to image."""
    bodies = [{"model": "small", "image": data_uri(scene(number))} for number in range(12)]
    alone = [results(client.post("/v1/caption", json=one)) for one in bodies]
    before = server.metric('braid_batch_rows_count{model="small"}')
    with ThreadPoolExecutor(12) as pool, server.client() as shared:
        together = list(pool.map(lambda one: results(shared.post("/v1/caption", json=one)), bodies))
    assert server.metric('braid_batch_rows_count{model="small"}') - before < 12  # they did meet
    for (one,), (other,) in zip(alone, together, strict=True):
        assert one["text"] == other["text"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=2e-4)
    assert len({one["text"] for (one,) in alone}) > 1


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("caption", {}, 400, "invalid_request", "image: field required"),
        (
            "caption",
            {"image": URI, "colour": 1},
            400,
            "invalid_request",
            "colour: there is no such field; choose from explain, image, language, model",
        ),
        (
            "caption",
            {"image": URI, "model": "large"},
            404,
            "model_not_found",
            "there is no model 'large' here; served are every, drawer, small",
        ),
        (
            "caption",
            {"image": URI, "model": "drawer"},
            400,
            "task_not_served",
            "model 'drawer' does not do captioning; it does image_generation",
        ),
        ("caption", {"items": [{"image": URI}] * 65}, 400, "too_many_items", "65 items; a request may hold 64"),
        (
            "caption",
            {"image": "file:///etc/passwd"},
            400,
            "invalid_request",
            "image must be a data URI, base64, or an http address; other addresses are not read",
        ),
        (
            "caption",
            {"image": "http://127.0.0.1:1/a.png"},
            400,
            "invalid_request",
            "no file is fetched from the web by this server; send the file itself, as a data URI",
        ),
        (
            "caption",
            {"image": "no base64!"},
            400,
            "invalid_request",
            "image is not base64; send a data URI (data:image/png;base64,...) or base64 alone",
        ),
        ("classify", {}, 400, "invalid_request", "there is nothing to classify; give image or text"),
        (
            "classify",
            {"text": "x", "labels": ["one"]},
            400,
            "invalid_request",
            "there is only one label to choose from; give two or more",
        ),
        ("imagine", {"prompt": " "}, 400, "invalid_request", "the prompt is empty; say what the image should show"),
        (
            "imagine",
            {"prompt": "a " * 40},
            400,
            "invalid_request",
            "the prompt has 40 tokens; this model reads at most 14, make it shorter",
        ),
    ],
)
def test_what_cannot_be_answered_has_an_error(
    client: httpx.Client, path: str, body: dict[str, Any], status: int, code: str, message: str
) -> None:
    result = error(client.post(f"/v1/{path}", json=body), status)
    assert (result["code"], result["message"]) == (code, message)


def test_other_bodies_and_addresses_have_errors(client: httpx.Client) -> None:
    for body in (b"{", b"[]", b"\xff", b'{"image": NaN}', b"[" * 100_000, b'{"image": "\\ud800"}'):
        error(client.post("/v1/caption", content=body, headers={"content-type": "application/json"}), 400)
    assert error(client.post("/v1/caption", content=b"x", headers={"content-type": "text/plain"}), 415)["code"]
    assert error(client.get("/v1/caption"), 405)["code"] == "method_not_allowed"
    assert error(client.get("/nothing"), 404)["code"] == "not_found"
    assert error(client.get("/healthz", headers={"host": "evil.example"}), 403)["code"] == "wrong_host"
    assert error(client.get("/", headers={"sec-fetch-site": "cross-site"}), 403)["code"] == "cross_site"


def test_pages_of_other_sites_are_refused_by_their_origin(server: Server, client: httpx.Client) -> None:
    own = server.url
    for origin in ("https://evil.example", "null", "http://localhost:1", "file://", own + ".evil.example", "http://127.0.0.1"):
        answer = client.post("/v1/embed", content=b'{"text": "a"}', headers={"origin": origin})
        assert error(answer, 403)["message"].startswith("pages of other sites may not use this server;")
    for headers in ({}, {"origin": own}, {"origin": own, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        assert client.post("/v1/embed", json={"text": "a"}, headers=headers).status_code == 200


def test_a_slash_at_the_end_changes_nothing(client: httpx.Client) -> None:
    assert client.get("/v1/models/").json() == client.get("/v1/models").json()
    assert client.post("/v1/embed/", json={"text": "a"}).json() == client.post("/v1/embed", json={"text": "a"}).json()
    assert error(client.get("/nothing/"), 404)["code"] == "not_found"


def test_words_of_http(server: Server, client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/metrics", "/v1/models", "/app.js"):
        head, get = client.head(path), client.get(path)
        assert head.status_code == 200 and head.content == b"", path
        assert head.headers["content-type"] == get.headers["content-type"]
    for method, path, allowed in (("GET", "/v1/caption", "POST"), ("HEAD", "/v1/embeddings", "POST"), ("PUT", "/", "GET, HEAD")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert error(client.put("/healthz"), 405)["message"] == "this address answers GET, HEAD only"
    assert client.get("/app.js", headers={"range": "bytes=5-1"}).status_code == 200
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/%ff", "//etc/passwd", "/" + "a" * 5000):
        assert error(client.get(path), 404)["code"] == "not_found"
    many = {f"x-{number}": "y" for number in range(2000)}
    junk = {"accept-encoding": "\x07;q=nan, zip", "accept": b"\xff", "range": "lines=1-", "if-none-match": '"'}
    for headers in (many, junk):
        assert client.get("/healthz", headers=headers).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GET /healthz HTTP/1.0", 200),  # as health checks of proxies
        ("GET /healthz HTTP/1.0\r\nHost: evil.example", 403),
        ("GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: evil.example", 200),  # the address counts, and not the header
        ("GET HTTP://LOCALHOST:80 HTTP/1.1\r\nHost: localhost", 200),
        ("GET http://localhost/v1/models/every?a=/b HTTP/1.1\r\nHost: localhost", 200),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost", 403),
        ("GET http://localhost@evil.example/healthz HTTP/1.1\r\nHost: localhost", 404),
        ("GET ftp://localhost/healthz HTTP/1.1\r\nHost: localhost", 404),
        ("PRI * HTTP/2.0", 400),
    ],
)
def test_requests_of_proxies_and_health_checks(server: Server, sent: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), PATIENCE) as connection:
        connection.sendall(f"{sent}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


def test_errors_before_a_request_is_known_have_the_same_form(server: Server) -> None:
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    for sent, message in (
        (b"X\r\n\r\n", "this is no valid HTTP request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "this is no valid HTTP request"),
        (
            b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "send Content-Length or Transfer-Encoding, not both",
        ),
    ):
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400") and b"x-request-id: " in head.lower()
        assert message in json.loads(body)["error"]["message"]


def test_a_body_of_very_many_values_is_refused_before_they_are_read(server: Server, client: httpx.Client) -> None:
    """Each could be wrong, and be an error of its own: 3 MB took 8 seconds and 2 GB."""
    before, begun = server.metric("process_resident_memory_bytes"), time.monotonic()
    for path, start, one, end in (
        ("chat/completions", '{"model": "small", "messages": [{"role": "user", "content": [', "1,", "1]}]}"),
        ("chat/completions", '{"model": "small", "messages": [', "[],", "1]}"),
        ("embeddings", '{"model": "every", "input": [', '"",', "1]}"),
        ("classify", '{"text": "a", "labels": [', "1,", "1]}"),
        ("caption", '{"items": [', "{},", "{}]}"),
        ("classify", '{"tabular": {', '"a":1,', '"b":1}}'),
    ):
        for number in (60_000, 1_500_000):  # within the bound and beyond
            body = start + number * one + end
            answer = client.post(f"/v1/{path}", content=body.encode(), headers={"content-type": "application/json"})
            assert answer.status_code in (400, 413) and len(answer.content) < 1000
            assert (number == 60_000) == (answer.json()["error"]["code"] != "too_many_values"), answer.text
    assert time.monotonic() - begun < 30
    assert server.metric("process_resident_memory_bytes") - before < 200_000_000


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("caption", '{"image": "\\ud83d"}', "image"),
        ("answer", '{"items": [{"image": "aGk=", "question": "why \\ud83d?"}]}', "items.0.question"),
        ("classify", '{"text": "a", "labels": ["a", "\\udc00"]}', "labels.1"),
        ("classify", '{"text": "a", "model": "\\udc00"}', "model"),
        ("imagine", '{"prompt": "\\ud83d"}', "prompt"),
        ("embeddings", '{"model": "every", "input": ["a", "\\ud83d"]}', "input.1"),
        ("chat/completions", '{"model": "small", "messages": [{"role": "user", "content": "\\ud83d"}]}', "messages.0.content"),
        ("chat/completions", '{"model": "small", "user": "\\ud83d", "messages": [{"role": "user"}]}', "user"),
    ],
)
def test_half_a_character_is_said_with_its_field(client: httpx.Client, path: str, body: str, field: str) -> None:
    answer = client.post(f"/v1/{path}", content=body.encode(), headers={"content-type": "application/json"})
    words = "this holds half a character (a lone surrogate), which is not text; send whole characters"
    assert (error(answer, 400)["message"], error(answer, 400)["param"]) == (f"{field}: {words}", field)


def test_names_of_fields_are_bounded(client: httpx.Client) -> None:
    long = error(client.post("/v1/caption", json={"x" * 2_000_000: 1}), 400)["message"]
    assert long == "the body: the name of a field has 2,000,000 characters, at most 1,000 are read; shorten it"
    half = client.post("/v1/caption", content=b'{"\\ud83d": 1}', headers={"content-type": "application/json"})
    assert "the name of a field holds half a character" in error(half, 400)["message"]


def test_products_of_a_request_are_bounded(client: httpx.Client) -> None:
    labels = [f"label {number}" for number in range(1000)]
    many = client.post("/v1/classify", json={"labels": labels, "items": [{"text": "a"}] * 64})
    assert error(many, 400)["message"] == (
        "these are 64,000 scores, one for each item and label; a request may ask for 10,000; send fewer of either"
    )
    shown = client.post("/v1/search", json={"items": [{"text": "a"}] * 64, "top": 12, "thumbnails": True})
    assert error(shown, 400)["message"] == ("these are 768 thumbnails; a request may ask for 200: lower top, or send fewer items")


def test_settings_are_read_or_refused(client: httpx.Client) -> None:
    def refused(body: dict[str, Any]) -> str:
        return str(error(client.post("/v1/classify", json={"text": "a dog", **body}), 400)["message"])

    assert refused({"labels": ["park", "park "]}) == "the label 'park' comes 2 times; give it once"
    assert refused({"labels": ["park", " "]}) == "a label is empty; leave it out"
    assert refused({"labels": ["park", "mat"], "explain": True}) == "labels of your own are not explained; leave explain out"
    asked = client.post("/v1/search?top=3", json={"text": "a dog"})
    assert error(asked, 400)["message"] == "nothing is read after the ? of an address; send top in the body"
    twice = client.post("/v1/search", files=[("text", (None, "a dog")), ("top", (None, "3")), ("top", (None, "5"))])
    assert error(twice, 400)["message"] == "top comes 2 times; give it once"
    twice = client.post("/v1/search", content=b'{"text": "a", "top": 3, "top": 5}')
    assert error(twice, 400)["message"] == "top comes more than once in an object; give it once"
    packed = client.post("/v1/search", content=b"x", headers={"content-encoding": "gzip"})
    assert error(packed, 415)["message"] == "send the body without compression, and without Content-Encoding"


def test_forms_of_odd_clients_are_read(client: httpx.Client) -> None:
    (plain,) = results(client.post("/v1/caption", json={"image": URI}))

    def sent(disposition: bytes, charset: str = "") -> httpx.Response:
        body = b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + IMAGE + b"\r\n--b--\r\n"
        return client.post("/v1/caption", content=body, headers={"content-type": f"multipart/form-data; boundary=b{charset}"})

    for disposition in (b"name=image; filename=a.png", b"name=\"image\"; filename*=UTF-8''%C3%A4.png"):
        assert results(sent(disposition)) == [plain]
        assert results(sent(disposition, "; charset=UTF-8")) == [plain]
    for charset in ("idna", "punycode", "unicode_escape", "utf-16"):
        answer = sent(b"name=image; filename=a.png", f"; charset={charset}")
        assert error(answer, 415)["message"] == f"the form is in {charset}; send it in UTF-8"
    marked = b"\xef\xbb\xbf" + json.dumps({"image": URI}).encode()
    assert results(client.post("/v1/caption", content=marked)) == [plain]


def test_a_request_that_is_too_large_is_refused(server: Server) -> None:
    with server.client() as client:
        message = error(client.post("/v1/caption", content=b"x" * 17_000_000, headers={"content-type": "application/json"}), 413)
        assert message["message"] == "a request may have 16,000,000 bytes; send less at once"

    def endless() -> Iterator[bytes]:
        for _ in range(170):
            yield b"x" * 100_000

    with server.client() as client:
        assert error(client.post("/v1/caption", content=endless()), 413)["code"] == "body_too_large"


def test_a_text_is_bounded_on_every_route(client: httpx.Client) -> None:
    long = "a" + "." * 20_000
    asked = error(client.post("/v1/answer", json={"image": URI, "question": long}), 400)["message"]
    assert "at most 20000 characters" in asked
    embedded = error(client.post("/v1/embeddings", json={"model": "every", "input": ["a dog", long]}), 400)["message"]
    assert embedded == "input 1: the text has 20,001 characters; a text may have 20,000"


def test_health_metrics_and_headers(server: Server, client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    answer = client.get("/", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in client.get("/healthz", headers={"origin": "http://evil.example"}).headers
    assert client.post("/v1/answer", json={"image": URI, "question": "how many?"}).status_code == 200
    assert client.post("/v1/answer", json={"image": "no picture", "question": "how many?"}).status_code >= 400
    text = client.get("/metrics").text
    for name in (
        "requests_total",
        "request_seconds_bucket",
        "stage_seconds_count",
        "batch_rows_bucket",
        "queue_rows",
        "errors_total",
    ):
        assert f"braid_{name}" in text
    for stage in ("read", "prepare", "wait", "model"):
        assert f'braid_stage_seconds_count{{stage="{stage}"}}' in text


def test_the_log_is_json_without_what_was_said(server: Server, client: httpx.Client) -> None:
    secret = "xyzzy-plugh"
    client.post("/v1/answer", json={"image": URI, "question": secret}, headers={"x-request-id": "logged-1"})
    client.get(f"/{secret}?{secret}")
    end = time.monotonic() + PATIENCE
    while not any("logged-1" in line for line in server.log) and time.monotonic() < end:
        time.sleep(0.05)
    lines = [json.loads(line) for line in server.log]
    (result,) = [line for line in lines if line.get("id") == "logged-1"]
    assert (result["event"], result["route"], result["status"]) == ("request", "/v1/answer", 200)
    assert secret not in "".join(server.log)
