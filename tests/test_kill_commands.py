"""What a command leaves behind that is killed at any moment: a few kills of what ``tests/kill_commands.py`` does often."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("kill_commands.py")


def test_killed_commands_run_again() -> None:
    """Beside these, the script kills ``braid export``, which takes longer."""
    words = [sys.executable, str(SCRIPT), "--kills", "3", "--commands", "index", "predict", "data shard"]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert re.findall(r"^([a-z ]+): \d", ran.stdout, re.MULTILINE) == ["index", "predict", "data shard"]
