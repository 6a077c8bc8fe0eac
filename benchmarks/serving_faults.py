"""Fault injection on a server: the answers that clients get, and whether the server keeps running.

    PYTHONPATH=tests python benchmarks/serving_faults.py         a few minutes
    PYTHONPATH=tests python benchmarks/serving_faults.py --uploads 20

The server is a process of its own with the built-in model. After every fault, a plain request must be answered and the queue must
be empty within a minute.
"""

import argparse
import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx

from hostile import hostile_uploads
from runs import report
from served import PATIENCE, Server, data_uri, scene

URI = data_uri(scene(1))
QUEUE = 16
CLIENTS = 16
Got = Counter[str]


def caption(client: httpx.Client, items: int = 1) -> str:
    """The status of a request, or the name of the client's exception."""
    body = {"image": URI} if items == 1 else {"items": [{"image": URI}] * items}
    try:
        return str(client.post("/v1/caption", json=body).status_code)
    except httpx.ConnectError:
        return "no connection"
    except httpx.TransportError as error:
        return type(error).__name__


def together(server: Server, number: int, ask: Callable[[httpx.Client], str]) -> Got:
    with ThreadPoolExecutor(number) as pool, server.client() as client:
        return Counter(pool.map(lambda _: ask(client), range(number)))


def goes_on(server: Server) -> str:
    """``yes`` with the resident megabytes, or ``NO``."""
    end = time.monotonic() + 60
    with server.client() as client:
        while caption(client) != "200" or server.metric("braid_queue_rows"):
            if time.monotonic() > end:
                return "NO"
            time.sleep(0.2)
    with open(f"/proc/{server.process.pid}/status") as file:
        pages = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return f"yes ({pages // 1000} MB)"


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=PATIENCE)


def leave_in_mid_stream(server: Server) -> Got:
    """Read a byte of the stream and hang up."""
    part = {"type": "image_url", "image_url": {"url": URI}}
    body = json.dumps({"model": "small", "stream": True, "messages": [{"role": "user", "content": [part]}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    for _ in range(30):
        with connected(server) as connection:
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            connection.recv(1)
        time.sleep(0.05)
    return Counter({"a byte, then gone": 30})


def upload(server: Server, number: int) -> Got:
    got: Got = Counter()
    with server.client() as client:
        for _, data in hostile_uploads(number):
            got[str(client.post("/v1/caption", files={"image": ("x.png", data)}).status_code)] += 1
    return got


def send_slowly(server: Server) -> Got:
    """Send a hundred request heads that never end, and ten such bodies."""
    heads, bodies = [connected(server) for _ in range(100)], [connected(server) for _ in range(10)]
    for connection in heads:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
    for connection in bodies:
        connection.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    got: Got = Counter({f"in between: {one}": number for one, number in together(server, 4, caption).items()})
    for connection in bodies:
        got[connection.recv(100).decode()[9:12]] += 1
    for connection in heads:
        got["closed" if connection.recv(100) == b"" else "answered"] += 1
    for connection in [*heads, *bodies]:
        connection.close()
    return got


def stop_under_load(server: Server) -> tuple[Got, str]:
    """Clients that send requests until they lose the connection; SIGTERM after two seconds."""
    got: Got = Counter()

    def ask(client: httpx.Client) -> None:
        while (answer := caption(client)) == "200":
            got[answer] += 1
        got[answer] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, server.client()) for _ in range(CLIENTS)]
        time.sleep(2)
        begun = time.monotonic()
        code = server.stop()
        took = time.monotonic() - begun
        for one in asking:
            one.result(PATIENCE)
    return got, f"exit code {code} after {took:.1f} s"


def summary(got: Got) -> str:
    return ", ".join(f"{number} x {name}" for name, number in got.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=200)
    given = parser.parse_args()
    limits = ("--max-queue", QUEUE, "--timeout", 20)
    rows: list[list[Any]] = []
    server = Server("--model", "small", *limits)
    with server.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(caption, client) for _ in range(CLIENTS)]
        time.sleep(0.5)
        server.process.send_signal(signal.SIGKILL)
        got = Counter(one.result(PATIENCE) for one in waiting)
    server.stop()
    server = Server("--model", "small", *limits)
    rows.append(["kill -9 under load, and started again", summary(got), goes_on(server)])
    rows.append(["client gone in mid-stream", summary(leave_in_mid_stream(server)), goes_on(server)])
    rows.append([f"{given.uploads} hostile uploads", summary(upload(server, given.uploads)), goes_on(server)])
    rows.append([f"64 requests, a queue of {QUEUE}", summary(together(server, 64, caption)), goes_on(server)])
    rows.append(["slow loris, 100 heads and 10 bodies", summary(send_slowly(server)), goes_on(server)])
    got, ended = stop_under_load(server)
    rows.append([f"SIGTERM under {CLIENTS} clients", summary(got), ended])
    how = "200: answered; 400, 413: bad request; 408: too slow; 429: retry later; words: the client's exception."
    report("serving_faults", "Faults of a server", ["fault", "answers", "keeps running"], rows, how)


if __name__ == "__main__":
    main()
