"""Generation of texts (``text.py``) and images (``images.py``) over one protocol of a model (``protocol.py``)."""

from braid.generation.protocol import (
    Decoder,
    Filler,
    GenerationConfig,
    ImageCodec,
    Runtime,
    Stepper,
    check_generates,
    check_output,
)
from braid.generation.text import Generated, continue_text, generate, likeliest, log_softmax, score_text, write_text

__all__ = [
    "ImageCodec",
    "Decoder",
    "Filler",
    "Generated",
    "GenerationConfig",
    "Runtime",
    "Stepper",
    "check_generates",
    "check_output",
    "continue_text",
    "generate",
    "likeliest",
    "log_softmax",
    "score_text",
    "write_text",
]
