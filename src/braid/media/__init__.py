"""Sound and frames from files: parts of recordings, decoded within limits. Audio and video stand on it."""

from braid.media.clip import Clip

__all__ = ["Clip"]
