"""Image <-> discrete tokens, one file a kind.

A codec ``encode``s pixels [n, 3, size, size] into tokens [n, length], ``decode``s them back, and has a ``grid``. Its ``loss`` is
that of the task reconstruction. Once another part reads its tokens, it is frozen.
"""

from braid.codecs.fsq import FSQCodec, FSQCodecConfig
from braid.codecs.pretrained import PretrainedCodec, PretrainedCodecConfig

CodecConfig = FSQCodecConfig | PretrainedCodecConfig
Codec = FSQCodec | PretrainedCodec

__all__ = ["Codec", "CodecConfig", "FSQCodec", "FSQCodecConfig", "PretrainedCodec", "PretrainedCodecConfig"]
