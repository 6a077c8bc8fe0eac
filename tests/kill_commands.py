"""Kill commands again and again, look at what stands, run them once more, and compare with a run that nobody disturbed.

    python tests/kill_commands.py                20 kills of each with kill -9; about 3 minutes on two cores
    python tests/kill_commands.py --kills 5 --seed 1 --commands predict

A moment is drawn at random from the time that the command takes. ``tests/test_kill_commands.py`` does the same with fewer kills.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.errors import UserError


@dataclass(frozen=True)
class Command:
    """Words of the command line, for a place of this name to write to; ``read`` reads what stands there, and gives what it
    holds."""

    name: str
    words: Callable[[Path], list[str]]
    read: Callable[[Path], Any]


def started(words: list[str]) -> int:
    """The command in a process of its own, which has imported everything already."""
    process = os.fork()
    if process:
        return process
    try:
        from braid import cli

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.argv = ["braid", *words]
        cli.main()
        os._exit(0)
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except BaseException:
        os._exit(99)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def standing(command: Command, place: Path) -> str:
    """What a user finds: nothing, something whole, or a message. Any other error goes on."""
    if not place.exists():
        return "nothing"
    try:
        command.read(place)
    except UserError:
        return "refused"
    return "whole"


def killed(command: Command, home: Path, kills: int, rng: random.Random) -> dict[str, int]:
    """Kill the command at random moments; after each kill, it has to run to its end without help."""
    undisturbed = home / "undisturbed" / command.name
    undisturbed.parent.mkdir()
    begun = time.perf_counter()
    assert ended(started(command.words(undisturbed))) == 0
    seconds = time.perf_counter() - begun
    expected = command.read(undisturbed)
    result: dict[str, int] = {}
    for number in range(kills):
        place = home / str(number) / command.name
        place.parent.mkdir()
        for _ in range(2):  # the second time, over what stands
            process = started(command.words(place))
            time.sleep(rng.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            what = standing(command, place)
            result[what] = result.get(what, 0) + 1
        if standing(command, place) != "whole":
            assert ended(started(command.words(place))) == 0
        found = command.read(place)
        assert found == expected, f"after {kills} kills {place.name} holds {found}, not {expected}"
    return result


def content(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha1(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()}


def _index_of(place: Path) -> list[str]:
    import numpy as np

    from braid.index import open_index

    index = open_index(place)
    return sorted(hit.id for hit in index.search(np.ones((1, index.width), np.float32), 100)[0])


def _shards_of(place: Path) -> Any:
    from braid.datasets import open_dataset

    dataset = open_dataset(place)
    assert not dataset.skipped
    return content(place)


def _captions_of(model: Path) -> Callable[[Path], Any]:
    def read(place: Path) -> Any:
        import braid

        return braid.load(place, runtime="onnx").caption(model.parent / "photo.png")

    return read


def commands(home: Path) -> dict[str, Command]:
    """The commands, with a model, a model of embeddings and photos that are made in ``home``."""
    from PIL import Image

    from bad.case import SETTINGS, make_home
    from braid.training import run_from, train

    make_home(home / "made")
    model = home / "made" / "model"
    photos = home / "photos"
    photos.mkdir()
    rows = []
    for number in range(24):
        Image.effect_noise((40, 40), 10 + number).convert("RGB").save(photos / f"{number}.png")
        rows.append({"image": f"{number}.png", "caption": f"number {number}"})
    table = photos / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(run_from({**SETTINGS, "task": "retrieval"}), home / "embedder")

    def index(place: Path) -> list[str]:
        return ["index", str(photos), "-o", str(place), "-m", str(home / "embedder"), "--batch-size", "2"]

    def predict(place: Path) -> list[str]:
        return ["predict", str(model), str(table), "-o", str(place), "--task", "captioning"]

    def shard(place: Path) -> list[str]:
        return ["data", "shard", str(table), "-o", str(place), "--size", "1"]

    def export(place: Path) -> list[str]:
        return ["export", str(model), "-o", str(place)]

    return {
        "index": Command("photos.index", index, _index_of),
        "predict": Command("answers.jsonl", predict, Path.read_text),
        "data shard": Command("shards", shard, _shards_of),
        "export": Command("graphs", export, _captions_of(model)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=[])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        known = commands(Path(place))
        for name in chosen.commands or known:
            (Path(place) / name).mkdir()
            result = killed(known[name], Path(place) / name, chosen.kills, random.Random(chosen.seed))
            print(f"{name}: {', '.join(f'{count} times {what}' for what, count in sorted(result.items()))}")


if __name__ == "__main__":
    main()
