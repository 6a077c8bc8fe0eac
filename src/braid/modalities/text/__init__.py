"""The text modality: tokenizer and preparation."""

from braid.modalities.text.modality import TextModality, TextModalityConfig
from braid.modalities.text.tokenizer import SpecialTokens, Tokenizer

__all__ = ["SpecialTokens", "TextModality", "TextModalityConfig", "Tokenizer"]
