"""Videos as people have them: damaged, cut off, without times, in RGB, with odd companions."""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elir_edge.errors import VideoError
from elir_edge.runtime.video import VideoResult, restore_video
from elir_edge.runtime.video.formats import Frame
from elir_edge.runtime.video.reader import VideoReader
from elir_edge.runtime.video.writer import SegmentEncoder
from tests.runtime.video.clips import make_clip, picture, read_clip, write_frames
from tests.runtime.video.test_video import Model

av: Any = pytest.importorskip("av", reason="needs the extra `video`")

Restore = Callable[..., VideoResult]


@pytest.fixture
def restored(tiny_bundle: Path, tmp_path: Path) -> Restore:
    """Return a function that runs a clip through a model which changes nothing."""

    def restore(clip: Path, name: str = "out.mp4") -> VideoResult:
        return restore_video(clip, tmp_path / name, Model(tiny_bundle))

    return restore


def _texts(result: VideoResult) -> list[str]:
    return [remark.text for remark in result.remarks]


def _colours(path: Path) -> tuple[str, int, int]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.format.name, int(frame.colorspace), int(frame.color_range)


def test_rgb_becomes_yuv_that_says_so(restored: Restore, tmp_path: Path) -> None:
    """The matrix of RGB is none: players would show its brightness as green."""
    clip = write_frames(tmp_path / "in.mkv", codec="libx264rgb", pixel_format="rgb24")
    assert _colours(clip)[1] == 0
    result = restored(clip)
    assert _texts(result) == ["colours become half as fine as brightness (4:2:0)"]
    assert _colours(result.path) == ("yuv420p", 1, 1)
    first = read_clip(result.path).frames[0]
    assert np.abs(first.astype(float) - picture(0, 96, 64)).mean() < 3


@pytest.mark.parametrize(("matrix", "span"), [(1, 1), (1, 2), (5, 1), (9, 2)])
def test_colour_tags_are_kept_and_computed_with(
    matrix: int, span: int, restored: Restore, tmp_path: Path
) -> None:
    """BT.709, BT.601 and BT.2020, in limited and full range: frames come out as they were."""
    clip = write_frames(tmp_path / "in.mkv", frames=2, colours=(matrix, span, 1))
    frame = next(VideoReader(clip).read())
    assert np.abs(frame.pixels.astype(float) - picture(0, 96, 64)).mean() < 3
    result = restored(clip)
    assert _colours(result.path)[1:] == (matrix, span)
    after = next(VideoReader(result.path).read())
    assert np.abs(after.pixels.astype(float) - picture(0, 96, 64)).mean() < 3


def test_conversions_do_not_darken(tmp_path: Path) -> None:
    """There and back, the mean of smooth colours stays within a quarter of a level of 255.

    This is in limited range, as most videos are; in full range, red and blue lose up to one level.
    """
    clip = write_frames(tmp_path / "in.mkv", frames=1, colours=(1, 1, 1))
    reader = VideoReader(clip)
    y, x = np.mgrid[:64, :96]
    ramps = np.stack([60 + x, 60 + 2 * y, 200 - x], axis=-1).astype(np.uint8)
    encoder = SegmentEncoder(reader.format, tmp_path / "out.mkv")
    there = encoder._converted(Frame(pixels=ramps, pts=0, duration=1))
    darker = ramps - reader._pixels(there).astype(float)
    assert np.abs(darker.mean(axis=(0, 1))).max() < 0.25
    # The twin: FFmpeg's default.
    frame = av.VideoFrame.from_ndarray(ramps, format="rgb24")
    there = frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1)
    back = there.reformat(format="rgb24", src_colorspace=1, src_color_range=1)
    assert (ramps - back.to_ndarray().astype(float)).mean() > 0.5


@pytest.mark.parametrize("transfer", [16, 18])
def test_a_high_dynamic_range_is_refused(transfer: int, restored: Restore, tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "in.mkv", frames=2, colours=(9, 1, transfer))
    with pytest.raises(VideoError, match=r"high dynamic range.*fix: convert it to BT\.709"):
        restored(clip)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_depth_and_transparency_are_told(restored: Restore, tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "in.mov", codec="prores_ks", pixel_format="yuva444p10le")
    assert _texts(restored(clip)) == [
        "more than 8 bits per colour become 8",
        "transparency is left out",
        "colours become half as fine as brightness (4:2:0)",
    ]


def test_frames_without_times_are_evenly_spaced(restored: Restore, tmp_path: Path) -> None:
    """A stream without a container has ticks of less than a millionth of a second, and no times."""
    clip = write_frames(tmp_path / "in.h264", codec="libx264", frames=6)
    times = read_clip(restored(clip).path).times
    assert [b - a for a, b in pairwise(times)] == [Fraction(1, 25)] * 5


def _hurt(clip: Path, start: float, count: int = 300) -> None:
    content = bytearray(clip.read_bytes())
    at = int(len(content) * start)
    content[at : at + count] = bytes(count)
    clip.write_bytes(bytes(content))


def test_damage_in_the_middle_is_told_and_left_out(restored: Restore, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=40, sound=False)
    _hurt(clip, 0.4, 2500)
    result = restored(clip)
    assert 25 <= result.frames < 40
    assert _texts(result)[0].startswith("packets that cannot be decoded are left out (")


def test_a_video_that_is_cut_off_is_told(restored: Restore, tmp_path: Path) -> None:
    clip = write_frames(tmp_path / "in.mkv", frames=75)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    result = restored(clip)
    assert 20 < result.frames < 60
    (text,) = _texts(result)
    said = re.fullmatch(r"its pictures end after (\d\.\d) of 3\.0 seconds", text)
    assert said is not None
    assert float(said[1]) == pytest.approx(result.frames / 25, abs=0.25)


def test_what_a_container_refuses_is_known_before_the_work(
    tmp_path: Path, restored: Restore
) -> None:
    """MP4 says that it takes this sound, and refuses it when the file is finished."""
    clip = write_frames(tmp_path / "in.mkv", sound="pcm_s16le")
    result = restored(clip)
    assert _texts(result) == [".mp4 cannot hold its audio (pcm_s16le)"]
    assert read_clip(result.path).sound == []
    kept = restored(clip, "kept.mkv")
    assert kept.remarks == ()
    assert read_clip(kept.path).sound == read_clip(clip).sound != []


def test_titles_in_old_encodings_chapters_and_languages(restored: Restore, tmp_path: Path) -> None:
    clip = write_frames(
        tmp_path / "in.mkv",
        sound="aac",
        title="Gruess!",
        language="deu",
        chapters=[(0, 200, "one"), (200, 400, "two")],
    )
    clip.write_bytes(clip.read_bytes().replace(b"Gruess!", b"Gr\xfc\xdfe!!"))
    result = restored(clip, "out.mkv")
    assert result.remarks == ()
    with av.open(str(result.path), metadata_errors="surrogateescape") as container:
        assert container.metadata["title"].encode("utf-8", "surrogateescape") == b"Gr\xfc\xdfe!!"
        assert [each["metadata"]["title"] for each in container.chapters()] == ["one", "two"]
        assert container.streams.audio[0].metadata["language"] in ("deu", "ger")


def test_frames_of_another_size_are_told(restored: Restore, tmp_path: Path) -> None:
    """Two broadcasts in one file, as recorders write them."""
    parts = [
        write_frames(tmp_path / f"{i}.ts", size=size, first=12 * i)
        for i, size in enumerate([(96, 64), (128, 96)])
    ]
    clip = tmp_path / "both.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = restored(clip)
    assert "frames of another size are brought to the first one's (12)" in _texts(result)
    assert {frame.shape for frame in read_clip(result.path).frames} == {(64, 96, 3)}


def test_a_cover_is_no_video(restored: Restore, tmp_path: Path) -> None:
    music = write_frames(tmp_path / "music.mp4", frames=0, sound="aac", cover=True)
    with av.open(str(music)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(VideoError, match=r"music\.mp4 has no video stream"):
        restored(music)
    result = restored(write_frames(tmp_path / "in.mp4", cover=True))
    assert result.frames == 12
    assert _texts(result) == ["a further stream is left out (video)"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
    ],
)
def test_turns_and_mirrors(
    matrix: tuple[int, int, int, int], expected: Callable[[Any], Any], tmp_path: Path
) -> None:
    """Where a pixel at (x, y) is shown: (a x + c y, b x + d y)."""
    clip = write_frames(tmp_path / "in.mp4", frames=2, matrix=matrix)
    reader = VideoReader(clip)
    frame = next(reader.read())
    shown = expected(picture(0, 96, 64))
    assert frame.pixels.shape == shown.shape == (reader.format.height, reader.format.width, 3)
    assert np.abs(frame.pixels.astype(float) - shown).mean() < 4
    # The twin: turned once more.
    wrong = np.rot90(shown, 2)
    assert np.abs(frame.pixels.astype(float) - wrong).mean() > 10


def test_frames_are_skipped_as_if_they_had_been_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=25, times=[*range(10), *range(20, 35)])
    whole, rest = list(VideoReader(clip).read()), list(VideoReader(clip).read(skip=7))
    assert [frame.pts for frame in rest] == [frame.pts for frame in whole[7:]]
    for a, b in zip(rest, whole[7:], strict=True):
        assert np.array_equal(a.pixels, b.pixels)
