"""The server under load on loopback, beside the same model called one request at a time.

    PYTHONPATH=tests python benchmarks/serving.py                              60 s a load, 10,000 requests for the memory
    PYTHONPATH=tests python benchmarks/serving.py --seconds 5 --requests 200   the same, in a minute

Each of so many clients has one connection and asks for the caption of a JPEG as soon as it has its last answer. The pictures are
scenes of 400 pixels, or those of ``--photos``. The library is called in this process while the server is idle, before and after
the loads, with as many threads of torch as the server has (OMP_NUM_THREADS); its captions are what every answer of the server is
held to: the same words, and a confidence within 0.0002, because sums of floats depend a little on the size of a batch.

With the most clients, a server with batching off (--max-batch 1) is asked, too, and one whose model is without its graphs, so on
torch.

Times are those of the clock, and of the processor for one answer, which a busy machine changes less.

Memory is the server's resident set, read once a second; growth is the mean of the last tenth of the requests over that of the
second tenth: before, pools and caches fill.
"""

import argparse
import http.client
import io
import json
import os
import statistics
import tempfile
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image

from braid.api import LoadedModel, load
from braid.bundle import find_bundle
from braid.datasets.scenes import Scenes
from braid.modalities import image_files
from runs import report
from served import Server

CLIENTS = (1, 8, 64)
IMAGES = 200
SAME = 2e-4  # of a confidence
MODEL = "small"


@dataclass
class Load:
    """What came of asking for a while: seconds an answer took, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    refused: int = 0
    took: float = 0.0
    processor: float = 0.0  # seconds, of the process that answers

    def row(self, name: str, beside: float) -> list[Any]:
        rate = len(self.seconds) / self.took
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive") if len(self.seconds) > 1 else self.seconds * 99
        spread = [f"{1000 * cuts[cut - 1]:.0f}" for cut in (50, 95, 99)]
        return [
            name,
            len(self.seconds),
            f"{rate:.2f}",
            f"{rate / beside:.2f}",
            *spread,
            f"{1000 * self.processor / len(self.seconds):.0f}",
            self.refused,
            self.wrong,
        ]


@dataclass(frozen=True)
class Asked:
    """One picture: its bytes, the body that asks for its caption, and what the library says."""

    image: bytes
    body: bytes
    text: str
    confidence: float


def scenes(number: int) -> list[bytes]:
    world = Scenes(size=400)
    result = []
    for one in range(number):
        file = io.BytesIO()
        Image.fromarray(world.scene("test", one).render(400)).save(file, "JPEG", quality=90)
        result.append(file.getvalue())
    return result


def expected(model: LoadedModel, images: list[bytes]) -> list[Asked]:
    asked = []
    for image in images:
        (said,) = model.captions([image])
        body = json.dumps({"image": b64encode(image).decode("ascii")}).encode()
        asked.append(Asked(image, body, str(said.text), said.confidence))
    return asked


def sequential(model: LoadedModel, asked: list[Asked], seconds: float) -> Load:
    """The library, one picture after another."""
    load, begun, spent = Load(), time.perf_counter(), time.process_time()
    for number in count():
        before = time.perf_counter()
        if before - begun > seconds:
            break
        model.captions([asked[number % len(asked)].image])
        load.seconds.append(time.perf_counter() - before)
    load.took, load.processor = time.perf_counter() - begun, time.process_time() - spent
    return load


def loaded(
    server: Server, asked: list[Asked], clients: int, seconds: float = float("inf"), requests: float = float("inf")
) -> Load:
    """So many clients for so long, or until so many requests are answered."""
    load, numbers, lock = Load(), count(), threading.Lock()
    begun, spent = time.perf_counter(), processor(server.process.pid)

    def client() -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=300)
        while time.perf_counter() - begun < seconds:
            with lock:
                number = next(numbers)
            if number >= requests:
                break
            one, before = asked[number % len(asked)], time.perf_counter()
            connection.request("POST", "/v1/caption", one.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            with lock:
                if answer.status == 200:
                    said = body["results"][0]
                    load.seconds.append(time.perf_counter() - before)
                    load.wrong += said["text"] != one.text or abs(said["confidence"] - one.confidence) > SAME
                else:
                    load.refused += 1
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.took, load.processor = time.perf_counter() - begun, processor(server.process.pid) - spent
    return load


def processor(process: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> int:
    """Bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def growth(server: Server, asked: list[Asked], requests: int) -> tuple[Load, float, float]:
    """Megabytes of the server after its first tenth of requests, and at the end."""
    readings: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1):
            readings.append(resident(server.process.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    load = loaded(server, asked, 16, requests=requests)
    done.set()
    watching.join()
    readings = readings or [resident(server.process.pid)]
    tenth = max(1, len(readings) // 10)
    return load, statistics.mean(readings[tenth : 2 * tenth] or readings) / 1e6, statistics.mean(readings[-tenth:]) / 1e6


def without_graphs(model: str, home: Path) -> Path:
    """The same model where only torch can run it."""
    return Path(copytree(find_bundle(model), home / model, ignore=ignore_patterns("*.onnx", "*.weights.json")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--photos", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    files = islice(image_files(given.photos), IMAGES) if given.photos else []
    images = [Path(file).read_bytes() for file in files] or scenes(IMAGES)
    home = tempfile.TemporaryDirectory(prefix="braid-serving-")
    model = load(MODEL)
    asked = expected(model, images)
    with Server("--model", MODEL, "--workers", given.workers) as server:
        loaded(server, asked, 4, requests=16)  # what is loaded at the first question is loaded
        before = sequential(model, asked, given.seconds / 2)
        loads = {clients: loaded(server, asked, clients, seconds=given.seconds) for clients in CLIENTS}
        after = sequential(model, asked, given.seconds / 2)
        alone = Load(
            [*before.seconds, *after.seconds], took=before.took + after.took, processor=before.processor + after.processor
        )
        beside = len(alone.seconds) / alone.took
        memory, first, last = growth(server, asked, given.requests)
    others = {
        f"batching off, {CLIENTS[-1]} clients": (MODEL, "--max-batch", 1),
        f"torch, {CLIENTS[-1]} clients": (f"{MODEL}={without_graphs(MODEL, Path(home.name))}",),
    }
    beyond = {}
    for name, (served, *limits) in others.items():
        with Server("--model", served, "--workers", given.workers, *limits) as server:
            loaded(server, asked, 4, requests=16)
            beyond[name] = loaded(server, asked, CLIENTS[-1], seconds=given.seconds)
    rows = [alone.row("library, one at a time", beside)]
    rows += [load.row(f"server, {clients} clients", beside) for clients, load in loads.items()]
    rows += [load.row(name, beside) for name, load in beyond.items()]
    rows.append(memory.row("server, 16 clients, for its memory", beside))
    message = f"Memory over {given.requests:,} requests: {first:.0f} MB, then {last:.0f} MB ({100 * (last / first - 1):+.1f}%)."
    cores = os.environ["OMP_NUM_THREADS"]
    threads = f"threads that run the model: {given.workers}, each on {cores} core; ONNX Runtime where torch is not named"
    setting = f"{len(images)} pictures, {given.seconds:g} s a load; {threads}"
    columns = ["caller", "answers", "a second", "x library", "p50 ms", "p95 ms", "p99 ms", "processor ms", "refused", "wrong"]
    report("serving", "Serving captions", columns, rows, f"{setting}. {message}")


if __name__ == "__main__":
    main()
