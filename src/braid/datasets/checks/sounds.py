"""What is wrong with recordings that can be read: silence, and samples cut off at full scale."""

from typing import Any

import numpy as np

from braid.datasets.checks.defects import Defect
from braid.media import open_sound

HEARD = 60.0  # seconds of a recording that are looked at
SILENT = 1e-4  # the loudest sample: 80 decibels below full scale
FULL, CUT = 0.99, 0.01  # of full scale; the share of samples there that tells a recording that was too loud


def odd_sound(value: Any, source: str, name: str) -> Defect | None:
    """Silence or clipping in the first minute of a recording, if there is any."""
    with open_sound(value, source) as recording:
        samples = np.abs(recording.read(0.0, HEARD, recording.rate))
        part = f"the first {HEARD:g} s" if recording.seconds > HEARD else "all of it"
    if samples.max() < SILENT:
        return Defect("silent recording", (source,), f"{source}: {name} is silent, {part}")
    share = float((samples >= FULL).mean())
    if share < CUT:
        return None
    return Defect(
        "clipped recording", (source,), f"{source}: {name} is cut off at full scale in {100 * share:.0f}% of its samples"
    )
