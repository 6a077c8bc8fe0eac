"""What is fuzzed of recordings, beside the readers in ``fuzz_targets``."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fuzz_targets import Target


def _sound() -> Target:
    """Small recordings of every format, by libsndfile and PyAV; a part is read, too."""
    import tempfile
    from pathlib import Path

    from bad.sounds import film, saved
    from braid.media import Clip
    from braid.modalities import AudioModalityConfig

    tone = (0.3 * np.sin(0.2 * np.arange(4000))).astype(np.float32)
    kinds = (
        ("WAV", None),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("WAV", "GSM610"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
        ("AIFF", None),
        ("CAF", "ALAC_16"),
    )
    seeds = [saved(tone, kind, subtype) for kind, subtype in kinds] + [saved(np.stack([tone, tone], 1), "FLAC", rate=44_100)]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("phone.m4a", "phone.aac", "phone.mka"):
            seeds.append(film(Path(folder) / name, sound=True, picture=False).read_bytes())
    modality = AudioModalityConfig(seconds=0.2).build()

    def read(data: bytes) -> Any:
        prepared = modality.prepare(data)
        return prepared, modality.prepare(Clip(data, 0.05, 0.2)), AudioModalityConfig.show(data)

    return Target("audio", tuple(seeds), read)


TARGETS: dict[str, Callable[[], Target]] = {"audio": _sound}
