"""PyAV, the Python interface of FFmpeg's libraries; the only file that imports it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from elir_edge.errors import VideoError

_BICUBIC, _FULL_CHROMA, _EXACT = 0x4, 0x2000 | 0x4000, 0x40000
CONVERSION = _BICUBIC | _FULL_CHROMA | _EXACT
"""Flags of FFmpeg's swscale for conversions between RGB and YUV: there and back, its default
darkens a picture by a level."""


def require_av() -> ModuleType:
    """Return PyAV's module.

    Raises:
        VideoError: it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise VideoError(
            "video needs PyAV, which is not installed", fix="pip install 'elir-edge[video]'"
        ) from error
    av.logging.set_level(None)  # FFmpeg's messages come as exceptions
    module: ModuleType = av
    return module


@contextlib.contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into a `VideoError` that begins with `what`."""
    try:
        yield
    except require_av().FFmpegError as error:
        raise VideoError(f"{what} ({_reason(error)})") from error


@contextlib.contextmanager
def opened_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the container of a video file and its video stream.

    Raises:
        VideoError: the file is damaged or has no video stream.
    """
    # Old files hold titles in other encodings than UTF-8: such bytes are passed on as they are.
    with (
        one_line_errors(f"{path} cannot be read"),
        require_av().open(str(path), metadata_errors="surrogateescape") as container,
    ):
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            raise VideoError(f"{path} has no video stream")
        yield container, streams[0]


def _is_cover(stream: Any) -> bool:
    """Tell whether a stream is a picture that goes with the file, such as an album's cover."""
    return bool(stream.disposition & require_av().stream.Disposition.attached_pic)


def _reason(error: Any) -> str:
    """Return FFmpeg's reason without the number and path that PyAV adds."""
    return str(error.strerror or error)
