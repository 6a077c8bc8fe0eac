"""Sound and frames from files: parts of recordings, decoded within limits. Audio and video stand on it."""

from braid.media.clip import Clip
from braid.media.times import read_seconds

__all__ = ["Clip", "read_seconds"]
