"""What a video consists of: its format, its frames and its encoded packets."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

CODECS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
}
"""The encoder, by FFmpeg's name, for each suffix that can be written."""
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "ipod",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""The container, by FFmpeg's name, for each suffix that can be written."""
VIDEO_SUFFIXES = tuple(CODECS)

UNSPECIFIED, RGB, BT709, BT601 = 2, 0, 1, 5
"""Codes of colour matrices, by ITU-T H.273."""
LIMITED = 1
"""Code of the range in which black is 16 and white is 235."""


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """What the encoder of a video has to know.

    Attributes:
        width: of the frames as they are shown, in pixels.
        height: of the frames as they are shown, in pixels.
        time_base: seconds per tick.
        rate: frames per second in the mean.
        aspect: width over height of a pixel, as shown.
        colours: codes of matrix, range, transfer and primaries by ITU-T H.273; a range of 0 is
            unspecified.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colours: tuple[int, int, int, int]

    @property
    def matrix(self) -> int:
        """Code of the colour matrix that is computed with."""
        return BT601 if self.colours[0] == UNSPECIFIED else self.colours[0]

    @property
    def range(self) -> int:
        """Code of the range that is computed with."""
        return self.colours[1] or LIMITED

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of what is written: 4:2:0, which odd sides cannot have, or 4:4:4."""
        return "yuv444p" if self.width % 2 or self.height % 2 else "yuv420p"

    def enlarged(self, factor: int) -> "VideoFormat":
        """Return the format of a video that is `factor` times as large."""
        return replace(self, width=self.width * factor, height=self.height * factor)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture of a video.

    Attributes:
        pixels: (H, W, 3) uint8, RGB, upright.
        pts: when it is shown, in ticks.
        duration: how long it is shown, in ticks; 0: unknown.
    """

    pixels: NDArray[np.uint8]
    pts: int
    duration: int


@dataclass(frozen=True, kw_only=True)
class EncodedPacket:
    """A frame as the encoder wrote it.

    Attributes:
        pts: when it is shown, in ticks of the source's time base.
        dts: when it is decoded, in the same ticks.
        duration: in ticks; 0: unknown.
        key: whether it can be decoded by itself.
        content: its bytes.
    """

    pts: int
    dts: int
    duration: int
    key: bool
    content: bytes
