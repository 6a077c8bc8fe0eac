"""What a command leaves behind that is killed at any moment: a few kills of what ``tests/kill_commands.py`` does often."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_commands.py")


@pytest.mark.parametrize(("command", "kills"), [("index", 4), ("predict", 4), ("data shard", 4), ("export", 1)])
def test_a_killed_command_runs_again(command: str, kills: int) -> None:
    words = [sys.executable, str(SCRIPT), "--kills", str(kills), "--commands", command]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.startswith(f"{command}: ")
