"""Small clips made with PyAV: moving waves, and a tone."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = Fraction(30000, 1001)
_HERTZ = 44100


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a frame of smooth waves that move to the left, grayish, brighter at the top left."""
    y, x = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(x / 9 + index / 5) + 30 * np.cos(y / 7)
    corner = 40 * (x < width // 3) * (y < height // 3)
    return np.stack([waves + corner, waves, waves - 10], axis=-1).astype(np.uint8)


def make_clip(
    path: Path,
    *,
    frames: int = 40,
    size: tuple[int, int] = (96, 64),
    times: Sequence[int] | None = None,
    sound: bool = True,
    still: bool = False,
) -> Path:
    """Write a clip; `times` are the frames' in ticks of 1001/30000 s, by default every tick."""
    import av

    width, height = size
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "5", "g": "10"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio: Any = container.add_stream("aac", rate=_HERTZ) if sound else None
        for index in range(frames):
            pixels = picture(0 if still else index, width, height)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index if times is None else times[index]
            frame.time_base = 1 / RATE
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            seconds = frames / float(RATE)
            tone = np.sin(2 * np.pi * 440 * np.arange(int(_HERTZ * seconds)) / _HERTZ)
            for start in range(0, len(tone), 1024):
                part = tone[None, start : start + 1024].astype(np.float32)
                sound_frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                sound_frame.rate, sound_frame.pts = _HERTZ, start
                sound_frame.time_base = Fraction(1, _HERTZ)
                container.mux(audio.encode(sound_frame))
            container.mux(audio.encode())
    return path


def turn_clockwise(path: Path) -> None:
    """Have players turn an MP4's video by 90 degrees: the matrix of its first track header."""
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 8
    rows = ((0, 1, 0), (-1, 0, 0), (0, 0, 1))
    units = (1 << 16, 1 << 16, 1 << 30)
    matrix = b"".join(
        struct.pack(">i", value * unit)
        for row in rows
        for value, unit in zip(row, units, strict=True)
    )
    path.write_bytes(content[:start] + matrix + content[start + 36 :])


class Content(NamedTuple):
    """What of a clip is compared."""

    frames: list[NDArray[np.uint8]]
    times: list[Fraction]
    sound: list[bytes]
    rate: Fraction
    rotation: int


def read_clip(path: Path) -> Content:
    """Read all of a clip by PyAV alone."""
    import av

    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    sound = []
    with av.open(str(path)) as container:
        if container.streams.audio:
            sound = [bytes(packet) for packet in container.demux(audio=0)]
    assert rate is not None
    return Content(
        frames=[frame.to_ndarray(format="rgb24") for frame in decoded],
        times=[frame.pts * frame.time_base for frame in decoded],
        sound=sound,
        rate=rate,
        rotation=decoded[0].rotation,
    )
