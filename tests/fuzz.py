"""Fuzz every decoder and reader: damaged bytes must be read or refused with a UserError, quickly and in little memory.

    python tests/fuzz.py --minutes 30                 all targets, one after the other
    python tests/fuzz.py --minutes 2 --targets csv image
    python tests/fuzz.py --repeat fuzz/csv-1.bin      one reproducer again, with its traceback

With the package ``atheris`` (https://github.com/google/atheris, Linux) mutation follows the code that is reached; without it,
inputs that end in a new way are kept and mutated further. An exception other than UserError, more than 10 seconds of the
process's own time or more than 2 GB of memory is a failure; each kind of failure is kept once, as OUTPUT/TARGET-N.bin with
its traceback beside it.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

HANG = 10  # seconds
MEMORY = 2 << 30  # bytes
KEPT = 500  # inputs that ended in a new way


class Watch:
    """One process's count of what happened, written down while it runs: a crash of the process loses nothing."""

    def __init__(self, name: str, output: Path) -> None:
        from fuzz_models import TARGETS

        self.target = TARGETS[name]()
        self.stem = output / plain(name)
        self.current = self.stem.with_suffix(".current")
        self.counts: Counter[str] = Counter()
        self.ends: set[Any] = set()
        self.failures = [path.read_text().partition("\n")[0] for path in output.glob(f"{self.stem.name}-*.txt")]
        self.written = 0.0
        self.log = open(self.stem.with_suffix(".hang"), "w")  # noqa: SIM115 - open as long as the process
        faulthandler.register(signal.SIGPROF, self.log, chain=True)  # says where it hangs, then ends the process

    def run(self, data: bytes) -> bool:
        """Read one input; whether it ended in a way not seen before."""
        from braid.errors import UserError

        self.current.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, HANG)  # of the process's own time: the machine may be busy
        end: Any = "read"
        try:
            self.target.read(data)
        except UserError as error:
            end = ("refused", *_place(error))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            end = ("failed", type(error).__name__, *_place(error))
            self._failed(" ".join(map(str, end)), data, traceback.format_exc())
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.counts["executions"] += 1
        self.counts[end[0] if isinstance(end, tuple) else end] += 1
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MEMORY:
            self._failed("more than 2 GB of memory", data, "")
            self.write()
            os._exit(1)
        if time.monotonic() - self.written > 1:
            self.write()
        new = end not in self.ends
        self.ends.add(end)
        return new

    def _failed(self, what: str, data: bytes, trace: str) -> None:
        if what not in self.failures:
            self.failures.append(what)
            keep(self.stem, data, f"{what}\n{trace}")

    def write(self) -> None:
        self.written = time.monotonic()
        self.stem.with_suffix(f".{os.getpid()}.json").write_text(json.dumps(self.counts))


def plain(name: str) -> str:
    """A target's name as part of a file's."""
    return re.sub(r"\W", "-", name)


def keep(stem: Path, data: bytes, message: str) -> Path:
    """A reproducer and, beside it, what it did."""
    number = 1 + len(list(stem.parent.glob(f"{stem.name}-*.bin")))
    path = stem.with_name(f"{stem.name}-{number}.bin")
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(message)
    return path


def _place(error: BaseException) -> tuple[str, ...]:
    """Where an error was raised: the last lines of Braid and of whatever it called."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "braid" in Path(frame.filename).parts]
    return tuple(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:]))


def fuzz_plainly(watch: Watch, seconds: float, seed: int) -> None:
    from fuzz_targets import mutated

    rng = random.Random(seed)
    pool = list(watch.target.seeds)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(watch.target, rng, rng.choice(pool))
        if watch.run(data) and len(pool) < KEPT:
            pool.append(data)
    watch.write()


def fuzz_guided(atheris: Any, watch: Watch, seconds: float, seed: int) -> None:
    """libFuzzer's loop: an input that reaches new code is kept and mutated further, by its own changes and by ours."""
    from fuzz_targets import mutated

    corpus = watch.stem.with_suffix(".corpus")
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(watch.target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)

    def change(data: bytes, largest: int, chance: int) -> bytes:
        rng = random.Random(chance)
        changed = mutated(watch.target, rng, data) if rng.random() < 0.7 else atheris.Mutate(data, len(data))
        return bytes(changed[:largest])

    end = time.monotonic() + seconds

    def one(data: bytes) -> None:
        watch.run(data)
        if time.monotonic() > end:  # libFuzzer has no end that is not a crash
            watch.write()
            os._exit(0)

    # Watch looks after time and memory; a time limit of 0 would end the process at libFuzzer's first look at the clock.
    options = [f"-seed={seed + 1}", "-max_len=20000", "-timeout=100000", "-rss_limit_mb=0", "-verbosity=0"]
    options.append(f"-artifact_prefix={watch.stem}-libfuzzer-")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def child(name: str, seconds: float, seed: int, output: Path) -> None:
    try:
        import atheris
    except ModuleNotFoundError:
        fuzz_plainly(Watch(name, output), seconds, seed)
        return
    with atheris.instrument_imports(include=["braid", "PIL", "yaml", "csv", "json"]):
        import yaml  # noqa: F401
        from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

        watch = Watch(name, output)
    fuzz_guided(atheris, watch, seconds, seed)


def supervise(name: str, seconds: float, output: Path) -> None:
    """Run one target for its time; a process that dies is a failure, and the next one goes on."""
    end = time.monotonic() + seconds
    stem = output / plain(name)
    for seed in range(1000):
        left = end - time.monotonic()
        if left < 1:
            return
        command = [
            sys.executable,
            __file__,
            "--child",
            name,
            "--seconds",
            str(left),
            "--seed",
            str(seed),
            "--output",
            str(output),
        ]
        before = len(list(output.glob(f"{stem.name}-*.bin")))
        ended = subprocess.run(command, capture_output=True, text=True)
        died = ended.returncode != 0 and len(list(output.glob(f"{stem.name}-*.bin"))) == before
        if died:
            hang = stem.with_suffix(".hang").read_text()
            message = (
                f"more than {HANG} s\n{hang}" if hang else f"the process ended with {ended.returncode}\n{ended.stderr[-3000:]}"
            )
            keep(stem, stem.with_suffix(".current").read_bytes(), message)


def summary(name: str, output: Path) -> list[Any]:
    stem = plain(name)
    counts: Counter[str] = Counter()
    for path in output.glob(f"{stem}.*.json"):
        counts.update(json.loads(path.read_text()))
    kept = len(list(output.glob(f"{stem}-*.bin")))
    return [name, *(f"{counts[what]:,}" for what in ("executions", "read", "refused", "failed")), kept]


def main() -> None:
    from fuzz_models import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--targets", nargs="+", default=[])
    parser.add_argument("--output", type=Path, default=Path("fuzz"))
    parser.add_argument("--repeat", type=Path)
    for hidden, kind in (("--child", str), ("--seconds", float), ("--seed", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.seconds, chosen.seed, chosen.output)
        return
    if chosen.repeat:
        name = next(name for name in TARGETS if plain(name) == chosen.repeat.stem.rpartition("-")[0])
        print(TARGETS[name]().read(chosen.repeat.read_bytes()))
        return
    chosen.output.mkdir(parents=True, exist_ok=True)
    names = chosen.targets or list(TARGETS)
    print("| target | executions | read | refused | failed | kinds of failure |\n|---|---|---|---|---|---|")
    for name in names:
        supervise(name, 60 * chosen.minutes / len(names), chosen.output)
        print("| " + " | ".join(map(str, summary(name, chosen.output))) + " |", flush=True)
    rows = [summary(name, chosen.output) for name in names]
    print(f"\n{sum(int(row[1].replace(',', '')) for row in rows):,} executions, {sum(row[5] for row in rows)} kinds of failure")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
