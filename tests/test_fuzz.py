"""Damaged bytes are read or refused with a UserError: a few seconds of what ``tests/fuzz.py`` does for half an hour."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braid.errors import UserError
from fuzz_models import TARGETS
from fuzz_targets import mutated

DAMAGED = 40  # inputs a target


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]()

    @settings(max_examples=DAMAGED, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=True))
    def damaged(rng: random.Random) -> None:
        try:
            target.read(mutated(target, rng))
        except UserError as error:
            assert str(error)

    damaged()


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "run.yaml"])
def test_what_is_whole_is_read(name: str) -> None:
    """All but the run: one of its seeds is a bomb of aliases."""
    target = TARGETS[name]()
    for seed in target.seeds:
        target.read(seed)


def test_the_fuzzer_keeps_what_fails(tmp_path: Path) -> None:
    """The script itself, for a moment, on a reader that cannot fail."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), "--minutes", "0.02", "--targets", "lines", "--output", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| lines | " in ran.stdout
    assert ran.stdout.splitlines()[-1].endswith("executions, 0 kinds of failure")
    assert not ran.stdout.splitlines()[-1].startswith("0 ")
