"""Sound and frames from files: parts of recordings and clips, decoded within limits. Audio and video stand on it."""

from braid.media.clip import Clip
from braid.media.frames import read_frames
from braid.media.moments import FrameLimits, Frames
from braid.media.sound import Recording, has_sound, open_sound, read_sound

__all__ = ["Clip", "FrameLimits", "Frames", "Recording", "has_sound", "open_sound", "read_frames", "read_sound"]
