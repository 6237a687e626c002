"""Video in and out, frame by frame, in bounded memory.

from elir_edge.runtime import Restorer, ready_bundle
from elir_edge.runtime.video import restore_video

with Restorer(ready_bundle("denoising")) as restorer:
    restore_video("clip.mp4", "restored.mp4", restorer)
"""

from elir_edge.runtime.video.formats import VIDEO_SUFFIXES
from elir_edge.runtime.video.restore import VideoResult, restore_video
from elir_edge.runtime.video.segments import segments_folder

__all__ = ["VIDEO_SUFFIXES", "VideoResult", "restore_video", "segments_folder"]
