"""Video files by PyAV, FFmpeg's libraries; the only file that imports it."""

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import VideoError
from elir_edge.runtime.video.segments import EncodedPacket

_CODECS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264"}
_CODECS[".webm"] = "libvpx-vp9"
VIDEO_SUFFIXES = tuple(_CODECS)
_OPTIONS = {
    # No frame refers to a later one: frames are decoded in the order in which they are shown, and
    # segments follow each other as they are.
    "libx264": {"crf": "17", "preset": "medium", "bf": "0"},
    "libvpx-vp9": {
        "crf": "24",
        "b": "0",
        "deadline": "good",
        "cpu-used": "4",
        "lag-in-frames": "0",
    },
}
_HIGH_DYNAMIC_RANGE = (16, 18)
"""Transfer characteristics PQ and HLG, by ITU-T H.273."""
_UNSPECIFIED, _BT601, _LIMITED = 2, 5, 1
_COPIED = ("audio", "subtitle")


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """What of a video its encoder has to know.

    Attributes:
        width: of the frames as they are shown, in pixels.
        height: as well.
        time_base: seconds per tick.
        rate: frames per second in the mean.
        aspect: width over height of a pixel, as shown.
        colours: matrix, range, transfer and primaries by ITU-T H.273.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colours: tuple[int, int, int, int]

    def enlarged(self, factor: int) -> "VideoFormat":
        """Return the format of what is `factor` times as large."""
        return VideoFormat(
            width=self.width * factor,
            height=self.height * factor,
            time_base=self.time_base,
            rate=self.rate,
            aspect=self.aspect,
            colours=self.colours,
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture of a video: (H, W, 3) uint8, upright, and when and how long it is shown, in ticks.

    A duration of 0 is unknown.
    """

    pixels: NDArray[np.uint8]
    pts: int
    duration: int


class VideoReader:
    """A video file, opened.

    Args:
        path: of the file.

    Raises:
        VideoError: PyAV is missing, the file is no video, is damaged, or has a high dynamic range.
    """

    def __init__(self, path: Path) -> None:
        self._av, self._path = _require_av(), path
        if not path.is_file():
            raise VideoError(f"no video file {path}", fix="check the path")
        self.remarks: tuple[str, ...] = ()
        with self._opened() as (container, stream):
            first = next(iter(container.decode(stream)), None)
            if first is None:
                raise VideoError(f"{path} has no frame that can be decoded")
            self._turns = round(first.rotation / 90) % 4
            self.format = self._format(stream, first)
            self.remarks = self._remarks(first)
            self.frames = _count(stream, container)

    def read(self, after: int | None) -> Iterator[Frame]:
        """Yield the frames in the order they are shown.

        Args:
            after: only those that are shown later than this tick; None: all.
        """
        if after is not None:
            with self._opened() as (container, stream):
                container.seek(after, stream=stream)
                frames = self._decode(container, stream)
                first = next(frames, None)
                if first is not None and first.pts <= after:
                    yield from (frame for frame in frames if frame.pts > after)
                    return
        # From the start, also where a file's index leads too far.
        with self._opened() as (container, stream):
            for frame in self._decode(container, stream):
                if after is None or frame.pts > after:
                    yield frame

    def _decode(self, container: Any, stream: Any) -> Iterator[Frame]:
        matrix, full, _, _ = self.format.colours
        before: int | None = None
        for frame in container.decode(stream):
            pts = frame.pts
            if pts is None or (before is not None and pts <= before):
                pts = 0 if before is None else before + 1
            before = pts
            rgb = frame.reformat(
                format="rgb24", src_colorspace=_matrix(matrix), src_color_range=full or _LIMITED
            )
            pixels = np.ascontiguousarray(np.rot90(rgb.to_ndarray(), self._turns))
            yield Frame(pixels=pixels, pts=pts, duration=frame.duration or 0)

    def _format(self, stream: Any, first: Any) -> VideoFormat:
        sideways = self._turns % 2 == 1
        sides = (first.height, first.width) if sideways else (first.width, first.height)
        aspect = Fraction(stream.codec_context.sample_aspect_ratio or 1)
        if first.color_trc in _HIGH_DYNAMIC_RANGE:
            raise VideoError(
                f"{self._path} has a high dynamic range, for which no model was trained",
                fix="convert it to BT.709 first",
            )
        return VideoFormat(
            width=sides[0],
            height=sides[1],
            time_base=stream.time_base,
            rate=Fraction(stream.average_rate or stream.guessed_rate or 25),
            aspect=1 / aspect if sideways else aspect,
            colours=(
                int(first.colorspace),
                int(first.color_range),
                int(first.color_trc),
                int(first.color_primaries),
            ),
        )

    def _remarks(self, first: Any) -> tuple[str, ...]:
        found = []
        if max(part.bits for part in first.format.components) > 8:
            found.append("more than 8 bits per colour become 8")
        if first.interlaced_frame:
            found.append("its frames are interlaced, and are restored as if they were not")
        return tuple(found)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        with _telling(self._av, f"{self._path} cannot be read"):
            container = self._av.open(str(self._path))
            try:
                if not container.streams.video:
                    raise VideoError(f"{self._path} has no video stream")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                yield container, stream
            finally:
                container.close()


class SegmentEncoder:
    """Encodes the frames of one segment after the other.

    Args:
        video: what is encoded.
        target: its suffix says the codec.
    """

    def __init__(self, video: VideoFormat, target: Path) -> None:
        self._av, self._video, self._target = _require_av(), video, target

    def encode(self, frames: Iterable[Frame]) -> list[EncodedPacket]:
        """Return the packets of a segment, the first of which is a key frame."""
        name = _CODECS[self._target.suffix.lower()]
        with _telling(self._av, f"{self._target} cannot be encoded"):
            context = self._av.CodecContext.create(name, "w")
            _configure(self._av, context, self._video, name)
            packets = []
            durations = {}
            for frame in frames:
                durations[frame.pts] = frame.duration
                packets += context.encode(self._converted(frame))
            packets += context.encode(None)
        return [
            EncodedPacket(
                pts=packet.pts,
                dts=packet.dts,
                duration=durations.get(packet.pts, 0),
                key=packet.is_keyframe,
                content=bytes(packet),
            )
            for packet in packets
        ]

    def _converted(self, frame: Frame) -> Any:
        matrix, full, _, _ = self._video.colours
        picture = self._av.VideoFrame.from_ndarray(frame.pixels, format="rgb24").reformat(
            format=_pixel_format(self._video),
            dst_colorspace=_matrix(matrix),
            dst_color_range=full or _LIMITED,
        )
        picture.pts, picture.time_base = frame.pts, self._video.time_base
        return picture


def write_video(
    path: Path, video: VideoFormat, packets: Iterable[EncodedPacket], source: Path
) -> tuple[str, ...]:
    """Write a video file; the source's sound and subtitles are copied as they are.

    Args:
        path: of the file; its suffix says the container and codec.
        video: as it was encoded.
        packets: of all frames.
        source: whose further streams and description are taken over.

    Returns:
        What of the source is left out, a sentence each.

    Raises:
        VideoError: it cannot be written.
    """
    av = _require_av()
    name = _CODECS[path.suffix.lower()]
    left_out = []
    with (
        _telling(av, f"{path.name} cannot be written"),
        av.open(str(source)) as original,
        av.open(str(path), "w") as container,
    ):
        container.metadata.update(original.metadata)
        stream = container.add_stream(name, rate=video.rate)
        _configure(av, stream.codec_context, video, name)
        stream.time_base = video.time_base
        stream.metadata.update(original.streams.video[0].metadata)
        copies = {}
        for other in original.streams:
            if other.type in _COPIED:
                if other.codec_context.name in _held(container, other):
                    copies[other.index] = container.add_stream_from_template(other)
                    copies[other.index].metadata.update(other.metadata)
                else:
                    left_out.append(f"{path.suffix} cannot hold its {other.type} ({other.name})")
            elif other.index != original.streams.video[0].index:
                left_out.append(f"a further stream is left out ({other.type})")
        frames = ((p.dts * video.time_base, 0, p) for p in packets)
        others = _other_packets(original, copies)
        for _, kind, packet in heapq.merge(frames, others, key=lambda each: each[0]):
            if kind:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
            else:
                container.mux(_packet(av, packet, stream, video.time_base))
    return tuple(left_out)


def _held(container: Any, stream: Any) -> set[str]:
    """Return the names of codecs that a container takes, the stream's own where it is unsure."""
    held = set(container.supported_codecs)
    return held | {stream.codec_context.name} if container.format.name == "matroska" else held


def _other_packets(original: Any, copies: dict[int, Any]) -> Iterator[tuple[Fraction, int, Any]]:
    if copies:
        for packet in original.demux([original.streams[index] for index in copies]):
            if packet.dts is not None:
                yield packet.dts * packet.time_base, 1, packet


def _packet(av: ModuleType, encoded: EncodedPacket, stream: Any, time_base: Fraction) -> Any:
    packet = av.Packet(encoded.content)
    packet.stream = stream
    packet.time_base = time_base
    packet.pts, packet.dts = encoded.pts, encoded.dts
    if encoded.duration:
        packet.duration = encoded.duration
    packet.is_keyframe = encoded.key
    return packet


def _configure(av: ModuleType, context: Any, video: VideoFormat, name: str) -> None:
    context.width, context.height = video.width, video.height
    context.pix_fmt = _pixel_format(video)
    context.time_base, context.framerate = video.time_base, video.rate
    context.sample_aspect_ratio = video.aspect
    context.options = _OPTIONS[name]
    matrix, full, transfer, primaries = video.colours
    context.colorspace, context.color_range = matrix, full
    context.color_trc, context.color_primaries = transfer, primaries
    context.flags |= av.codec.context.Flags.global_header


def _pixel_format(video: VideoFormat) -> str:
    """Return the usual one, which odd sides cannot have."""
    return "yuv444p" if video.width % 2 or video.height % 2 else "yuv420p"


def _matrix(code: int) -> int:
    return _BT601 if code == _UNSPECIFIED else code


def _count(stream: Any, container: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    rate = stream.average_rate
    if stream.duration and rate:
        return int(stream.duration * stream.time_base * rate)
    if container.duration and rate:
        return int(container.duration * rate / 1_000_000)
    return None


def _require_av() -> ModuleType:
    try:
        import av
    except ModuleNotFoundError as error:
        raise VideoError(
            "video needs PyAV, which is not installed", fix="pip install 'elir-edge[video]'"
        ) from error
    av.logging.set_level(None)  # what it has to say comes as exceptions
    module: ModuleType = av
    return module


@contextlib.contextmanager
def _telling(av: ModuleType, what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into one line."""
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"{what} ({error})") from error
