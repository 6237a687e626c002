"""Finished parts of a video: they come back whole, for their request alone."""

from pathlib import Path

import pytest

from elir_edge.errors import VideoError
from elir_edge.runtime.video.formats import EncodedPacket
from elir_edge.runtime.video.segments import SegmentFolder, segments_folder

_PACKETS = [
    EncodedPacket(pts=3 * i, dts=3 * i, duration=3, key=i == 0, content=bytes([i] * i))
    for i in range(5)
]


def _filled(target: Path) -> None:
    with SegmentFolder(target, {"x": 1}) as folder:
        folder.add(_PACKETS[:3])
        folder.add(_PACKETS[3:])


def test_they_come_back(tmp_path: Path) -> None:
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as folder:
        assert (len(folder), folder.frames) == (0, 0)
        folder.add(_PACKETS[:3])
        folder.add(_PACKETS[3:])
        assert (len(folder), folder.frames) == (2, 5)
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as again:
        assert list(again.packets()) == _PACKETS
        assert (again.replaced, again.frames) == (False, 5)
    with SegmentFolder(tmp_path / "a.mp4", {"x": 2}) as other:
        assert (other.replaced, other.frames) == (True, 0)
    assert list(tmp_path.iterdir()) == []  # without a segment, the folder goes


def test_a_folder_that_was_deleted_by_half_is_not_taken_up(tmp_path: Path) -> None:
    """Segments after a gap would follow those that are made anew in its place."""
    _filled(tmp_path / "a.mp4")
    (segments_folder(tmp_path / "a.mp4") / "000000.packets").unlink()
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as folder:
        assert len(folder) == 0
        folder.add(_PACKETS[:2])
        assert list(folder.packets()) == _PACKETS[:2]


def test_what_a_killed_program_was_writing_is_swept(tmp_path: Path) -> None:
    _filled(tmp_path / "a.mp4")
    folder = segments_folder(tmp_path / "a.mp4")
    half = folder / ".000002.packets.0123456789abcdef.packets"
    half.write_bytes(b"half")
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as again:
        assert again.frames == 5
        assert not half.exists()


@pytest.mark.parametrize("kept", [2, 31])
def test_a_damaged_segment_is_one_line(tmp_path: Path, kept: int) -> None:
    """Cut off within a header (of 29 bytes), and within a packet."""
    _filled(tmp_path / "a.mp4")
    segment = segments_folder(tmp_path / "a.mp4") / "000001.packets"
    segment.write_bytes(segment.read_bytes()[:kept])
    with pytest.raises(VideoError, match=r"000001\.packets is damaged; fix: delete .*segments"):
        SegmentFolder(tmp_path / "a.mp4", {"x": 1})
    with pytest.raises(VideoError, match="is damaged"):  # and it is not locked
        SegmentFolder(tmp_path / "a.mp4", {"x": 1})


def test_two_programs_do_not_share_a_folder(tmp_path: Path) -> None:
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as folder:
        folder.add(_PACKETS)
        for request in ({"x": 1}, {"x": 2}):
            with pytest.raises(VideoError, match=r"another program is restoring into .*a\.mp4"):
                SegmentFolder(tmp_path / "a.mp4", request)
        assert list(folder.packets()) == _PACKETS
    with SegmentFolder(tmp_path / "a.mp4", {"x": 1}) as again:
        assert again.frames == 5
