"""Write a video file: encode its frames, copy its sound and subtitles."""

import heapq
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

from elir_edge.runtime.video.formats import CODECS, CONTAINERS, EncodedPacket, Frame, VideoFormat
from elir_edge.runtime.video.library import (
    CONVERSION,
    one_line_errors,
    opened_video,
    require_av,
)

_OPTIONS = {
    # No frame refers to a later one: frames are decoded in the order in which they are shown, and
    # segments follow each other as they are.
    # x264's macroblock tree gives other bytes for the same frames in one of a hundred runs.
    "libx264": {"crf": "17", "preset": "medium", "bf": "0", "mbtree": "0"},
    "libvpx-vp9": {
        "crf": "24",
        "b": "0",
        "deadline": "good",
        "cpu-used": "4",
        "lag-in-frames": "0",
    },
}
_COPIED = ("audio", "subtitle")


class SegmentEncoder:
    """Encodes the frames of one segment after the other.

    Args:
        video: format of the frames.
        target: the file to be; its suffix says the codec.
    """

    def __init__(self, video: VideoFormat, target: Path) -> None:
        self._av, self._video, self._target = require_av(), video, target

    def encode(self, frames: Iterable[Frame]) -> list[EncodedPacket]:
        """Return the packets of a segment, the first of which is a key frame.

        Raises:
            VideoError: the codec refuses the frames.
        """
        name = CODECS[self._target.suffix.lower()]
        with one_line_errors(f"{self._target} cannot be encoded"):
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
        picture = self._av.VideoFrame.from_ndarray(frame.pixels, format="rgb24").reformat(
            format=self._video.pixel_format,
            dst_colorspace=self._video.matrix,
            dst_color_range=self._video.range,
            interpolation=CONVERSION,
        )
        picture.pts, picture.time_base = frame.pts, self._video.time_base
        return picture


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What of a source beside its pictures is copied.

    Attributes:
        streams: indices of the streams whose packets are copied as they are.
        left_out: what is left out, a sentence each.
    """

    streams: tuple[int, ...]
    left_out: tuple[str, ...]


def plan_copies(source: Path, target: Path) -> Copies:
    """Find out which streams of a source the target's container can hold.

    Args:
        source: a video file.
        target: the file to be; its suffix says the container.

    Raises:
        VideoError: the source cannot be read.
    """
    streams, left_out = [], []
    with opened_video(source) as (original, pictures):
        for stream in original.streams:
            if stream.index == pictures.index:
                continue
            if stream.type not in _COPIED or stream.codec_context is None:
                left_out.append(f"a further stream is left out ({stream.type})")
            elif _can_be_copied(original, stream, target):
                streams.append(stream.index)
            else:
                name = stream.codec_context.name
                left_out.append(f"{target.suffix} cannot hold its {stream.type} ({name})")
    return Copies(streams=tuple(streams), left_out=tuple(left_out))


def _can_be_copied(original: Any, stream: Any, target: Path) -> bool:
    """Tell whether a container takes a stream, by writing the beginning of it to memory.

    Containers say which codecs they take, but refuse some of these at their header, and others at
    their end.
    """
    av = require_av()
    try:
        with av.open(io.BytesIO(), "w", format=CONTAINERS[target.suffix.lower()]) as container:
            copy = container.add_stream_from_template(stream)
            container.start_encoding()
            if stream.type == "audio":  # subtitles may first come late
                packet = next((p for p in original.demux(stream) if p.dts is not None), None)
                if packet is not None:
                    packet.stream = copy
                    container.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def write_video(
    path: Path, video: VideoFormat, packets: Iterable[EncodedPacket], source: Path, copies: Copies
) -> None:
    """Write a video file; chapters, descriptions and copies are the source's.

    Args:
        path: of the file; its suffix says the container and codec.
        video: format of the encoded frames.
        packets: of all frames.
        source: the video file that was restored.
        copies: which of its streams are copied.

    Raises:
        VideoError: the file cannot be written.
    """
    av = require_av()
    name = CODECS[path.suffix.lower()]
    with (
        opened_video(source) as (original, pictures),
        one_line_errors("the video cannot be written"),
        av.open(str(path), "w", metadata_errors="surrogateescape") as container,
    ):
        container.metadata.update(original.metadata)
        stream = container.add_stream(name, rate=video.rate)
        _configure(av, stream.codec_context, video, name)
        stream.time_base = video.time_base
        stream.metadata.update(pictures.metadata)
        copied = {}
        for index in copies.streams:
            other = original.streams[index]
            copied[index] = container.add_stream_from_template(other)
            copied[index].metadata.update(other.metadata)
            copied[index].disposition = other.disposition.value
        container.set_chapters(original.chapters())
        frames = ((p.dts * video.time_base, 0, p) for p in packets)
        others = _other_packets(original, copied)
        for _, kind, packet in heapq.merge(frames, others, key=lambda each: each[0]):
            if kind:
                packet.stream = copied[packet.stream.index]
                container.mux(packet)
            else:
                container.mux(_packet(av, packet, stream, video.time_base))


def _other_packets(original: Any, copied: dict[int, Any]) -> Iterator[tuple[Fraction, int, Any]]:
    if not copied:
        return
    try:
        for packet in original.demux([original.streams[index] for index in copied]):
            if packet.dts is not None:
                yield packet.dts * packet.time_base, 1, packet
    except require_av().error.InvalidDataError:
        return  # as its pictures, its sound ends where the file is damaged


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
    context.pix_fmt = video.pixel_format
    context.time_base, context.framerate = video.time_base, video.rate
    context.sample_aspect_ratio = video.aspect
    context.options = _OPTIONS[name]
    matrix, full, transfer, primaries = video.colours
    context.colorspace, context.color_range = matrix, full
    context.color_trc, context.color_primaries = transfer, primaries
    context.flags |= av.codec.context.Flags.global_header
