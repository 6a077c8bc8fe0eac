"""Sound and frames from files: parts of recordings, decoded within limits. Audio and video stand on it."""

from braid.media.clip import Clip
from braid.media.sound import Recording, open_sound, read_sound

__all__ = ["Clip", "Recording", "open_sound", "read_sound"]
