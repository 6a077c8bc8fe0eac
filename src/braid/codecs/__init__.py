"""A picture <-> discrete tokens, one file a kind.

A codec ``encode``s pixels [n, 3, size, size] into tokens [n, length], ``decode``s them back, says its ``grid``, and gives the
``loss`` of what it makes of pictures, by which the task reconstruction trains it. Where a decoder draws with it, it is frozen.
"""

from braid.codecs.fsq import FSQCodec, FSQCodecConfig
from braid.codecs.pretrained import PretrainedCodec, PretrainedCodecConfig

CodecConfig = FSQCodecConfig | PretrainedCodecConfig
Codec = FSQCodec | PretrainedCodec

__all__ = ["Codec", "CodecConfig", "FSQCodec", "FSQCodecConfig", "PretrainedCodec", "PretrainedCodecConfig"]
