"""The server under load on loopback, compared with the same model called in the library, one request at a time.

    PYTHONPATH=tests python benchmarks/serving.py                              60 s per load, 10,000 requests for the memory
    PYTHONPATH=tests python benchmarks/serving.py --seconds 5 --requests 200   the same, in a minute

Each client has one connection and requests the caption of a JPEG as soon as it has its last answer. The images are scenes of 400
pixels, or those of ``--photos``. The library is called in this process while the server is idle, before and after the loads, with
the same number of torch threads (OMP_NUM_THREADS). Every answer of the server must equal the caption of the library: the same
words, and a confidence within 0.0002, because float sums depend slightly on the batch size.

With the most clients, a server without batching (--max-batch 1) and one whose model has no graphs, so that it runs on torch, are
measured, too.

Times are wall times, and CPU time per answer, which depends less on other work on the machine.

Memory is the resident set of the server, read once per second. Growth is the mean of the last tenth of the requests relative to
that of the second tenth; before, pools and caches fill.
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
    """The result of one load: seconds of each answer, and errors."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    refused: int = 0
    took: float = 0.0
    processor: float = 0.0  # CPU seconds of the process that answers

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
class Request:
    """One request: the bytes of the image, the request body, and the library's caption and confidence."""

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


def expected(model: LoadedModel, images: list[bytes]) -> list[Request]:
    samples = []
    for image in images:
        (said,) = model.captions([image])
        body = json.dumps({"image": b64encode(image).decode("ascii")}).encode()
        samples.append(Request(image, body, str(said.text), said.confidence))
    return samples


def sequential(model: LoadedModel, samples: list[Request], seconds: float) -> Load:
    """Call the library, one image after another."""
    load, begun, spent = Load(), time.perf_counter(), time.process_time()
    for number in count():
        before = time.perf_counter()
        if before - begun > seconds:
            break
        model.captions([samples[number % len(samples)].image])
        load.seconds.append(time.perf_counter() - before)
    load.took, load.processor = time.perf_counter() - begun, time.process_time() - spent
    return load


def loaded(
    server: Server, samples: list[Request], clients: int, seconds: float = float("inf"), requests: float = float("inf")
) -> Load:
    """Run ``clients`` clients for ``seconds`` seconds, or until ``requests`` requests are answered."""
    load, numbers, lock = Load(), count(), threading.Lock()
    begun, spent = time.perf_counter(), processor(server.process.pid)

    def client() -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=300)
        while time.perf_counter() - begun < seconds:
            with lock:
                number = next(numbers)
            if number >= requests:
                break
            one, before = samples[number % len(samples)], time.perf_counter()
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
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> int:
    """Bytes of resident memory."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def growth(server: Server, samples: list[Request], requests: int) -> tuple[Load, float, float]:
    """Memory of the server in MB after the first tenth of the requests, and at the end."""
    readings: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1):
            readings.append(resident(server.process.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    load = loaded(server, samples, 16, requests=requests)
    done.set()
    watching.join()
    readings = readings or [resident(server.process.pid)]
    tenth = max(1, len(readings) // 10)
    return load, statistics.mean(readings[tenth : 2 * tenth] or readings) / 1e6, statistics.mean(readings[-tenth:]) / 1e6


def without_graphs(model: str, home: Path) -> Path:
    """A copy of the model without graphs, which only torch can run."""
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
    samples = expected(model, images)
    with Server("--model", MODEL, "--workers", given.workers) as server:
        loaded(server, samples, 4, requests=16)  # warm-up: parts that load on the first request
        before = sequential(model, samples, given.seconds / 2)
        loads = {clients: loaded(server, samples, clients, seconds=given.seconds) for clients in CLIENTS}
        after = sequential(model, samples, given.seconds / 2)
        alone = Load(
            [*before.seconds, *after.seconds], took=before.took + after.took, processor=before.processor + after.processor
        )
        beside = len(alone.seconds) / alone.took
        memory, first, last = growth(server, samples, given.requests)
    others = {
        f"batching off, {CLIENTS[-1]} clients": (MODEL, "--max-batch", 1),
        f"torch, {CLIENTS[-1]} clients": (f"{MODEL}={without_graphs(MODEL, Path(home.name))}",),
    }
    beyond = {}
    for name, (served, *limits) in others.items():
        with Server("--model", served, "--workers", given.workers, *limits) as server:
            loaded(server, samples, 4, requests=16)
            beyond[name] = loaded(server, samples, CLIENTS[-1], seconds=given.seconds)
    rows = [alone.row("library, one at a time", beside)]
    rows += [load.row(f"server, {clients} clients", beside) for clients, load in loads.items()]
    rows += [load.row(name, beside) for name, load in beyond.items()]
    rows.append(memory.row("server, 16 clients, for its memory", beside))
    message = f"Memory over {given.requests:,} requests: {first:.0f} MB, then {last:.0f} MB ({100 * (last / first - 1):+.1f}%)."
    cores = os.environ["OMP_NUM_THREADS"]
    threads = f"{given.workers} threads run the model, each on {cores} core; ONNX Runtime unless torch is named"
    setting = f"{len(images)} images, {given.seconds:g} s per load; {threads}"
    columns = ["caller", "answers", "a second", "x library", "p50 ms", "p95 ms", "p99 ms", "processor ms", "refused", "wrong"]
    report("serving", "Serving captions", columns, rows, f"{setting}. {message}")


if __name__ == "__main__":
    main()
