"""Read the frames of a video file."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import VideoError
from elir_edge.runtime.video.formats import BT709, RGB, Frame, VideoFormat
from elir_edge.runtime.video.library import CONVERSION, opened_video, require_av

_HIGH_DYNAMIC_RANGE = (16, 18)
"""Codes of the transfer characteristics PQ and HLG, by ITU-T H.273."""
_USUAL_RATE = 25
_MISSING_SECONDS = 0.5
"""A video that ends by so much earlier than its file says is incomplete."""


class VideoReader:
    """A video file whose frames can be read.

    Args:
        path: of the file.

    Attributes:
        format: of the frames.
        frames: how many there are, estimated where the file does not say it; None: unknown.
        fine_colours: whether colours have more than a quarter of the pixels that brightness has.

    Raises:
        VideoError: PyAV is missing, or the file is no video, is damaged at its start, or has a high
            dynamic range.
    """

    def __init__(self, path: Path) -> None:
        self._av, self._path = require_av(), path
        if not path.is_file():
            raise VideoError(f"no video file {path}", fix="check the path")
        with opened_video(path) as (container, stream):
            first = next(self._decoded(container, stream, _Faults()), None)
            if first is None:
                raise VideoError(f"{path} has no frame that can be decoded")
            self._orientation = _Orientation(first)
            self._sides = (first.width, first.height)
            self.format = self._format(stream, first)
            self.frames = _count(stream, container)
            self._seconds = _seconds(stream, container)
        self.fine_colours = _has_fine_colours(first.format)
        self._lost = _what_is_lost(first)
        self._faults = _Faults()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the video is not kept or is damaged, a sentence each; complete after `read`."""
        return (*self._lost, *self._faults.sentences())

    def read(self, skip: int = 0) -> Iterator[Frame]:
        """Yield the frames in the order in which they are shown.

        Packets that cannot be decoded are left out and remarked on.

        Args:
            skip: so many of the first frames are left out. They are decoded all the same: the times
                of frames, and which of them are damaged, depend on those before.

        Raises:
            VideoError: the file can no longer be read.
        """
        step = max(1, round(1 / (self.format.rate * self.format.time_base)))
        faults, before = _Faults(), None
        with opened_video(self._path) as (container, stream):
            for index, frame in enumerate(self._decoded(container, stream, faults)):
                pts = frame.pts
                if pts is None or (before is not None and pts <= before):
                    # Some containers do not say when a frame is shown.
                    pts = 0 if before is None else before + step
                before = pts
                faults.see(frame, self._sides)
                if index >= skip:
                    yield Frame(pixels=self._pixels(frame), pts=pts, duration=frame.duration or 0)
                shown_until = (pts + (frame.duration or step)) * self.format.time_base
            start = Fraction(stream.start_time or 0) * self.format.time_base
        if before is not None and self._seconds is not None:
            faults.ends(float(shown_until - start), self._seconds)
        self._faults = faults

    def _decoded(self, container: Any, stream: Any, faults: "_Faults") -> Iterator[Any]:
        for packet in self._packets(container, stream, faults):
            try:
                frames = packet.decode()
            except self._av.error.InvalidDataError:
                faults.packets += 1
                continue
            yield from frames

    def _packets(self, container: Any, stream: Any, faults: "_Faults") -> Iterator[Any]:
        try:
            yield from container.demux(stream)
        except self._av.error.InvalidDataError:
            faults.packets += 1

    def _pixels(self, frame: Any) -> NDArray[np.uint8]:
        rgb = frame.reformat(
            width=self._sides[0],
            height=self._sides[1],
            format="rgb24",
            src_colorspace=self.format.matrix,
            src_color_range=self.format.range,
            interpolation=CONVERSION,
        )
        return self._orientation.upright(rgb.to_ndarray())

    def _format(self, stream: Any, first: Any) -> VideoFormat:
        if first.color_trc in _HIGH_DYNAMIC_RANGE:
            raise VideoError(
                f"{self._path} has a high dynamic range, for which no model was trained",
                fix="convert it to BT.709 first",
            )
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        sideways = self._orientation.sideways
        matrix = int(first.colorspace)
        return VideoFormat(
            width=self._sides[1] if sideways else self._sides[0],
            height=self._sides[0] if sideways else self._sides[1],
            time_base=stream.time_base,
            rate=Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE),
            aspect=1 / aspect if sideways else aspect,
            colours=(
                # RGB has no matrix, and a full range that is not that of what is written.
                BT709 if matrix == RGB else matrix,
                0 if matrix == RGB else int(first.color_range),
                int(first.color_trc),
                int(first.color_primaries),
            ),
        )


class _Orientation:
    """How a decoded frame is turned and mirrored before it is shown.

    Args:
        frame: PyAV's, of whose display matrix the upper left part is used: a pixel at (x, y) is
            shown at (a x + c y, b x + d y).
    """

    def __init__(self, frame: Any) -> None:
        data = frame.side_data.get("DISPLAYMATRIX")
        values = np.zeros(9, np.int32) if data is None else np.frombuffer(bytes(data), np.int32)
        a, b, _, c, d = (int(value) for value in values[:5])
        self.sideways = abs(b) > abs(a)
        self._mirrored = (c if self.sideways else a) < 0
        self._upside_down = (b if self.sideways else d) < 0

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (H, W, 3) as it is shown."""
        if self.sideways:
            pixels = pixels.transpose(1, 0, 2)
        if self._mirrored:
            pixels = pixels[:, ::-1]
        if self._upside_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


class _Faults:
    """Counts what is wrong with a video while it is read."""

    def __init__(self) -> None:
        self.packets = self._frames = self._resized = 0
        self._end = ""

    def see(self, frame: Any, sides: tuple[int, int]) -> None:
        """Take note of a frame; `sides` are the first one's, in pixels."""
        self._frames += bool(frame.is_corrupt)
        self._resized += (frame.width, frame.height) != sides

    def ends(self, seconds: float, announced: float) -> None:
        """Take note of when the last frame is gone, and when it should be."""
        if announced - seconds > _MISSING_SECONDS:
            self._end = f"its pictures end after {seconds:.1f} of {announced:.1f} seconds"

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind of fault."""
        if self.packets:
            yield f"packets that cannot be decoded are left out ({self.packets})"
        if self._frames:
            yield f"frames are damaged ({self._frames})"
        if self._resized:
            yield f"frames of another size are brought to the first one's ({self._resized})"
        if self._end:
            yield self._end


def _what_is_lost(first: Any) -> tuple[str, ...]:
    """Say what of a frame is not kept, a sentence each."""
    found = []
    parts = first.format.components
    if max(part.bits for part in parts) > 8:
        found.append("more than 8 bits per colour become 8")
    if any(part.is_alpha for part in parts):
        found.append("transparency is left out")
    if first.interlaced_frame:
        found.append("its frames are interlaced, and are restored as if they were not")
    return tuple(found)


def _has_fine_colours(pixel_format: Any) -> bool:
    width, height = pixel_format.width, pixel_format.height
    colours = [part for part in pixel_format.components if not (part.is_luma or part.is_alpha)]
    return any(part.width * part.height * 2 >= width * height for part in colours)


def _count(stream: Any, container: Any) -> int | None:
    """Return the number of frames, estimated where the file does not say it; None: unknown."""
    if stream.frames:
        return int(stream.frames)
    seconds = _seconds(stream, container)
    if seconds is None or not stream.average_rate:
        return None
    return round(seconds * float(stream.average_rate))


def _seconds(stream: Any, container: Any) -> float | None:
    """Return how long a video is, by what its file says; None: it says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None
