"""What is done to a server, and that it goes on: overload, lateness, clients that leave, hostile uploads, signals, keys."""

import asyncio
import http.server
import io
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from braid.errors import UserError, install_command
from braid.server import Limits
from braid.server.app import listening_on
from braid.server.connections import patient
from braid.server.uploads import fetch, is_public
from hostile import hostile_uploads
from served import PATIENCE, Server, data_uri, scene

URI = data_uri(scene(1))


@pytest.fixture(scope="module")
def tight(served_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, a short queue and little time."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("first-key\nsecond-key\n")
    models = ("--model", served_models["every"], "--model", served_models["drawer"])
    with Server(*models, "--api-key-file", keys, "--max-queue", 4, "--timeout", 4, "--fetch-host", "localhost") as running:
        yield running


@pytest.fixture
def client(tight: Server) -> Iterator[httpx.Client]:
    with tight.client(headers={"authorization": "Bearer second-key"}) as opened:
        yield opened


def answers_again(client: httpx.Client) -> None:
    end = time.monotonic() + PATIENCE
    while (answer := client.post("/v1/caption", json={"image": URI})).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.2)


def test_a_key_is_asked_for(tight: Server) -> None:
    with tight.client() as client:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "first-key x"},
            {"authorization": "first-key"},
            {"authorization": "Basic first-key"},
            {"authorization": b"Bearer \xff"},
        ):
            answer = client.post("/v1/caption", json={"image": URI}, headers=headers)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics").status_code == client.get("/abilities").status_code == 401
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        for key in ("first-key", "second-key"):
            for scheme in ("Bearer", "bearer", "BEARER "):
                headers = {"authorization": f"{scheme} {key}", "origin": "https://a.site"}  # its page holds a key
                assert client.get("/v1/models", headers=headers).status_code == 200


def test_a_key_is_asked_for_whatever_the_form_of_the_address(tight: Server) -> None:
    for target in ("/v1/models", "http://localhost/v1/models", "HTTP://localhost/%761/models"):
        with socket.create_connection(("127.0.0.1", int(tight.url.rpartition(":")[2])), PATIENCE) as connection:
            connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            assert b"".join(iter(lambda: connection.recv(4096), b"")).startswith(b"HTTP/1.1 401 "), target


def test_a_full_queue_says_when_to_come_back(client: httpx.Client) -> None:
    with ThreadPoolExecutor(24) as pool:
        result = list(pool.map(lambda _: client.post("/v1/caption", json={"image": URI}), range(48)))
    assert {answer.status_code for answer in result} == {200, 429}
    (refused, *_) = [answer for answer in result if answer.status_code == 429]
    assert refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1
    answers_again(client)


def test_a_client_that_leaves_is_not_waited_for(tight: Server, client: httpx.Client) -> None:
    body = json.dumps({"model": "every", "stream": True, "messages": [_shown()]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first-key\r\nContent-Length: {len(body)}\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", int(tight.url.rpartition(":")[2]))) as connection:
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            connection.recv(1)  # the stream has begun
    answers_again(client)
    assert _metric(client, "braid_queue_rows") == 0
    assert _metric(client, "braid_received_bytes") < 1000
    assert not any('"defect"' in line for line in tight.log)


def test_a_slow_loris_is_let_go(served_models: dict[str, Path], tight: Server, client: httpx.Client) -> None:
    """Heads that never end are closed after ten seconds; bodies that never end get 408."""
    port = int(tight.url.rpartition(":")[2])
    heads = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for connection in heads:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
    body = socket.create_connection(("127.0.0.1", port))
    body.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first-key\r\nContent-Length: 100\r\n\r\n{")
    answers_again(client)
    body.settimeout(PATIENCE)
    assert b"408" in body.recv(100)
    for connection in heads:
        connection.settimeout(PATIENCE)
        assert connection.recv(100) == b""  # closed by the server
        connection.close()
    body.close()
    answers_again(client)


def test_many_large_images_hold_nobody_up(served_models: dict[str, Path]) -> None:
    pixels = np.zeros((5000, 5000), np.uint8)
    items = []
    for number in range(40):  # they take several times as long as the one caption
        pixels[0, 0], file = number, io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        items.append({"image": data_uri(file.getvalue())})
    with Server("--model", served_models["every"]) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        many = pool.submit(client.post, "/v1/caption", json={"items": items})
        while server.metric("braid_received_bytes") < 100_000 and not many.done():
            time.sleep(0.01)
        assert client.post("/v1/caption", json={"image": URI}).status_code == 200
        assert not many.done()
        assert all("text" in one for one in many.result(PATIENCE).json()["results"])


WHOLE = 20_000_000  # bytes of an answer: more than the buffers of a connection hold


@contextmanager
def answering(limits: Limits) -> Iterator[tuple[str, int]]:
    """The address of a server whose every answer is large."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(WHOLE).encode())]})
        await send({"type": "http.response.body", "body": b"x" * WHOLE})

    listening = listening_on("127.0.0.1", 0)
    config = uvicorn.Config(answer, http=patient(limits), ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    running = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    running.start()
    yield listening.getsockname()
    server.should_exit = True
    running.join(PATIENCE)


def asking(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, PATIENCE)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return connection


def read(connection: socket.socket) -> int:
    """The bytes until the end, or until the connection is cut."""
    number = 0
    try:
        while part := connection.recv(1 << 20):
            number += len(part)
    except ConnectionError:
        pass
    return number


def test_a_client_that_does_not_read_its_answer_is_cut() -> None:
    with answering(Limits(timeout=1.0)) as address, asking(address) as slow:
        time.sleep(3)
        assert read(slow) < WHOLE
        with asking(address) as reading:
            assert read(reading) > WHOLE


def test_answers_that_nobody_reads_are_bounded_together() -> None:
    """Of those that wait, the oldest is cut at once."""
    with answering(Limits(timeout=30.0, unread=45_000_000)) as address:
        waiting = []
        for _ in range(4):
            waiting.append(asking(address))
            waiting[-1].recv(1)  # its answer has begun
            time.sleep(0.2)
        whole = [read(connection) > WHOLE for connection in waiting]
        assert not whole[0] and whole[-1] and whole.count(True) >= 2
        for connection in waiting:
            connection.close()


def test_a_client_that_leaves_within_its_body_is_no_error_of_the_server(served_models: dict[str, Path]) -> None:
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    with Server("--model", served_models["every"]) as server:
        for path, kind in ((b"embed", b""), (b"caption", form), (b"chat/completions", b""), (b"embeddings", b"")):
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
                head = b"POST /v1/" + path + b" HTTP/1.1\r\nHost: localhost\r\n" + kind + b"Content-Length: 99\r\n\r\n--b\r\n"
                connection.sendall(head)
                time.sleep(0.2)
        end = time.monotonic() + PATIENCE
        while server.metric('braid_requests_total{route="/v1/embeddings",status="499"}') < 1:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert server.metric("braid_errors_total") == 0
    lines = [json.loads(line) for line in server.log]
    assert [line["status"] for line in lines if line.get("method") == "POST"] == [499] * 4
    assert {line["level"] for line in lines} == {"info"}


def test_hostile_uploads_hurt_nobody(client: httpx.Client) -> None:
    for name, data in hostile_uploads(60):
        answer = client.post("/v1/caption", files={"image": ("x.png", data)})
        assert answer.status_code in (200, 400, 413), (name, answer.text)
        assert "Traceback" not in answer.text
    answers_again(client)
    bomb = client.post("/v1/caption", files={"image": ("x.png", dict(hostile_uploads(4))["bomb within the limit of Pillow"])})
    message = "the image is too large, with 12000 x 9000 beyond 32 megapixels; make it smaller"
    assert bomb.json()["error"]["message"] == message


def test_sigterm_finishes_what_was_taken(served_models: dict[str, Path]) -> None:
    server = Server("--model", served_models["every"])
    taken: list[int | str] = []

    def ask(client: httpx.Client) -> None:
        while True:
            try:
                taken.append(client.post("/v1/caption", json={"items": [{"image": URI}] * 8}).status_code)
            except httpx.ConnectError:
                return  # no longer taken
            except httpx.TransportError as error:
                taken.append(repr(error))
                return

    with ThreadPoolExecutor(8) as pool:
        clients = [server.client() for _ in range(8)]
        asking = [pool.submit(ask, client) for client in clients]
        time.sleep(1.5)
        code = server.stop()
        for one in asking:
            one.result(PATIENCE)
    assert code == 0
    assert taken.count(200) >= 8
    # A request that meets the closing of an idle connection is one that the server never took.
    assert all(one == 200 or "RemoteProtocolError" in str(one) or "ReadError" in str(one) for one in taken)


def test_killed_and_started_again(served_models: dict[str, Path]) -> None:
    server = Server("--model", served_models["every"])
    with server.client() as client:
        assert client.post("/v1/caption", json={"image": URI}).status_code == 200
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(PATIENCE)
    server.stop()
    with Server("--model", served_models["every"]) as again, again.client() as client:
        assert client.post("/v1/caption", json={"image": URI}).status_code == 200


def test_an_answer_that_is_late_is_told_of() -> None:
    """The built-in model takes longer than this for so many images."""
    with Server("--model", "small", "--timeout", 0.4) as server, server.client() as client:
        result = client.post("/v1/caption", json={"items": [{"image": data_uri(scene(number))} for number in range(32)]})
        assert result.status_code == 504
        assert result.json()["error"]["message"] == "the answer was not ready within 0.4 s; try again with fewer items"
        chat = {"model": "small", "stream": True, "messages": [_shown()]}
        with ThreadPoolExecutor(16) as pool:
            streams = list(pool.map(lambda _: client.post("/v1/chat/completions", json=chat).text, range(16)))
        assert any('"code": "deadline_exceeded"' in text for text in streams)
        end = time.monotonic() + PATIENCE
        while _metric(client, "braid_queue_rows") and time.monotonic() < end:
            time.sleep(0.1)
        assert client.get("/readyz").status_code == 200


def test_files_of_a_named_host_are_fetched_and_private_addresses_are_not(client: httpx.Client, tmp_path: Path) -> None:
    message = client.post("/v1/caption", json={"image": "http://localhost/a.png"}).json()["error"]["message"]
    assert message == "localhost is at a private address, which is not fetched from; send the file itself"
    (tmp_path / "a.png").write_bytes(scene(1))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/away":
                self.send_response(302)
                self.send_header("Location", "http://elsewhere.example/a.png")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    def handler(*given: Any) -> Handler:
        return Handler(*given, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        host = f"localhost:{site.server_port}"
        anywhere = {"hosts": {host}, "allowed": lambda address: True}
        assert fetch(f"http://{host}/a.png", most=10**6, **anywhere) == scene(1)  # type: ignore[arg-type]
        for url, most, message in (
            (f"http://{host}/a.png", 10, "more than 10 bytes"),
            (f"http://{host}/none", 10**6, "answered 404"),
            (f"http://{host}/away", 10**6, "only files of localhost"),
            (f"http://user:pass@{host}/a.png", 10**6, "without a name and password"),
            ("ftp://localhost/a.png", 10**6, "only http and https"),
        ):
            with pytest.raises(UserError, match=message):
                fetch(url, most=most, **anywhere)  # type: ignore[arg-type]
        site.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "224.0.0.1",
    ],
)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert is_public("93.184.216.34") and is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_what_keeps_a_server_from_starting_is_told(served_models: dict[str, Path], tmp_path: Path, braid: Any) -> None:
    (tmp_path / "keys.txt").write_text("\n")
    every = served_models["every"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments, message in (
            (
                ["--port", port],
                f"127.0.0.1:{port} cannot be listened on (Address already in use); choose another --host or --port",
            ),
            (
                ["--model", every, "--model", every],
                "two models are named 'every'; give one another name with --model NAME=FOLDER",
            ),
            (["--api-key-file", tmp_path / "keys.txt"], f"{tmp_path}/keys.txt holds no API key; write one a line into it"),
            (["--api-key-file", tmp_path], f"{tmp_path} is no text file with API keys; write one key a line into it"),
            (
                ["--model", served_models["drawer"], "--index", tmp_path],
                f"no model that is served gives embeddings, so {tmp_path} cannot be searched; give one with --model",
            ),
            (["--max-body", 0.1, "--timeout", 0.2, "--model", tmp_path], f"there is no model '{tmp_path}'"),
        ):
            ran = braid("serve", *(["--port", 0] if "--port" not in arguments else []), *arguments)
            assert ran.code == 1
            assert message in " ".join(ran.err.split())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, braid: Any) -> None:
    monkeypatch.setitem(sys.modules, "braid.server.app", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "braid.server.app")
    ran = braid("serve")
    assert ran.code == 1
    install = f"{sys.executable} -m {install_command('serve')}"
    assert ran.err == f"error: this needs uvicorn, which is not installed; run: {install}\n"


def _shown() -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URI}}]}


def _metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_an_answer_does_not_wait_for_the_client_to_have_its_head() -> None:
    """Else its body comes 40 ms later, with Nagle's algorithm at one end and late acknowledgements at the other."""

    async def at_once() -> bool:
        answered = asyncio.get_running_loop().create_future()

        def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answered.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(serve, sock=listening_on("127.0.0.1", 0)) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.close()
            return bool(await answered)

    assert asyncio.run(at_once())
