"""Generation of texts (``text.py``) and images (``images.py``) over one protocol of a model (``protocol.py``)."""

from braid.generation.protocol import (
    Codec,
    Decoder,
    Filler,
    GenerationConfig,
    Runtime,
    Stepper,
    check_draws,
    check_output,
)
from braid.generation.text import Generated, generate, likeliest, log_softmax, score_text, write_text

__all__ = [
    "Codec",
    "Decoder",
    "Filler",
    "Generated",
    "GenerationConfig",
    "Runtime",
    "Stepper",
    "check_draws",
    "check_output",
    "generate",
    "likeliest",
    "log_softmax",
    "score_text",
    "write_text",
]
