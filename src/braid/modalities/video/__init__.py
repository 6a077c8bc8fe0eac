"""The video modality: frames of clips at evenly spread moments."""

from braid.modalities.video.modality import PreparedVideo, VideoModality, VideoModalityConfig

__all__ = ["PreparedVideo", "VideoModality", "VideoModalityConfig"]
