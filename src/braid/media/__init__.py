"""Sound and frames from files: parts of recordings and clips, decoded within limits. Audio and video stand on it."""

from braid.media.clip import Clip
from braid.media.frames import read_frames
from braid.media.moments import FrameLimits, Frames

__all__ = ["Clip", "FrameLimits", "Frames", "read_frames"]
