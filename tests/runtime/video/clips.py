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


def write_frames(
    path: Path,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    frames: int = 12,
    size: tuple[int, int] = (96, 64),
    first: int = 0,
    sound: str | None = None,
    title: str | None = None,
    language: str | None = None,
    chapters: Sequence[tuple[int, int, str]] = (),
    matrix: tuple[int, int, int, int] | None = None,
    cover: bool = False,
    colours: tuple[int, int, int] | None = None,
) -> Path:
    """Write a clip of 25 frames per second of any kind.

    Args:
        path: of the file; its suffix says the container.
        codec: by FFmpeg's name.
        pixel_format: by FFmpeg's name.
        frames: how many; 0: no video.
        size: width and height.
        first: number of the first frame, which its time is of.
        sound: codec of a hum.
        title: of the file.
        language: of the sound.
        chapters: (start, end, title), in milliseconds.
        matrix: (a, b, c, d): a pixel at (x, y) is shown at (a x + c y, b x + d y).
        cover: add a picture that goes with the file, as music has.
        colours: codes of matrix, range and transfer by ITU-T H.273, which frames are written in.
    """
    import av

    width, height = size
    with av.open(str(path), "w") as container:
        if title is not None:
            container.metadata["title"] = title
        if chapters:
            container.set_chapters(
                [
                    {
                        "id": i,
                        "start": start,
                        "end": end,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": name},
                    }
                    for i, (start, end, name) in enumerate(chapters)
                ]
            )
        picture_stream: Any = None
        if cover:
            picture_stream = container.add_stream("png", rate=1)
            picture_stream.width, picture_stream.height, picture_stream.pix_fmt = 16, 16, "rgb24"
            picture_stream.disposition = av.stream.Disposition.attached_pic
        options = {"crf": "5"} if codec == "libx264" else {}
        video: Any = container.add_stream(codec, rate=25, options=options) if frames else None
        if frames:
            video.width, video.height, video.pix_fmt = width, height, pixel_format
        if colours is not None:
            context = video.codec_context
            context.colorspace, context.color_range, context.color_trc = colours
        if matrix is not None:
            a, b, c, d = (value << 16 for value in matrix)
            video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        audio: Any = None
        if sound is not None:
            audio = container.add_stream(sound, rate=_HERTZ, layout="stereo")
        if language is not None:
            audio.metadata["language"] = language
        if cover:
            image = av.VideoFrame.from_ndarray(picture(0, 16, 16), format="rgb24")
            container.mux(picture_stream.encode(image))
            container.mux(picture_stream.encode())
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, width, height), format="rgb24")
            if colours is not None:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=colours[0], dst_color_range=colours[1]
                )
            frame.pts, frame.time_base = first + index, Fraction(1, 25)
            container.mux(video.encode(frame))
        if frames:
            container.mux(video.encode())
        if audio is not None:
            _hum(audio, container, max(1, frames) / 25)
    return path


def _hum(stream: Any, container: Any, seconds: float) -> None:
    import av

    wave = (8000 * np.sin(np.arange(int(_HERTZ * seconds)) / 20)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave.repeat(2)[None], format="s16", layout="stereo")
    frame.rate, frame.pts, frame.time_base = _HERTZ, 0, Fraction(1, _HERTZ)
    samples = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format.name, "stereo", _HERTZ, frame_size=samples)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode())
