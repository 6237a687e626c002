"""Video in and out: times, sound, rotation, resumption, failures."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from elir_edge.errors import ImageError, VideoError
from elir_edge.runtime import Restorer
from elir_edge.runtime.video import restore as restore_module
from elir_edge.runtime.video import restore_video
from tests.runtime.video.clips import Content, make_clip, picture, read_clip, turn_clockwise

pytest.importorskip("av", reason="needs the extra `video`")


class Model:
    """Stands in for a restorer: any function of a frame."""

    upscale = 1
    runtime = "none"

    def __init__(self, folder: Path, work: Callable[[NDArray[Any]], NDArray[Any]] | None = None):
        self.bundle: Any = SimpleNamespace(folder=folder)
        self.calls = 0
        self._work = work

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        self.calls += 1
        return image if self._work is None else self._work(image)


def _left_over() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == restore_module.THREADS]


def _psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    error = max(1e-9, ((a.astype(float) - b.astype(float)) ** 2).mean())
    return float(10 * np.log10(255**2 / error))


def _same_but_pictures(a: Content, b: Content) -> bool:
    return (a.times, a.sound, a.rate) == (b.times, b.sound, b.rate)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_an_identity_keeps_all(suffix: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """Sound byte for byte, times exactly, pictures within 38 dB (two lossy encodings)."""
    clip = make_clip(tmp_path / f"in{suffix}")
    shown: list[tuple[int, int | None]] = []
    result = restore_video(
        clip,
        tmp_path / f"out{suffix}",
        Model(tiny_bundle),
        progress=lambda *counts: shown.append(counts),
    )
    before, after = read_clip(clip), read_clip(result.path)
    assert (result.frames, result.resumed, result.remarks) == (40, 0, ())
    assert len(after.frames) == 40
    assert len(before.sound) > 20
    assert _same_but_pictures(before, after)
    assert min(_psnr(a, b) for a, b in zip(before.frames, after.frames, strict=True)) > 38
    # The twin: another frame in its place is noticed.
    assert _psnr(before.frames[0], after.frames[5]) < 38
    assert shown[0][0] == 0
    assert shown[-1] == (40, 40)
    assert sorted(path.name for path in tmp_path.iterdir()) == [clip.name, result.path.name]


def test_uneven_times(tiny_bundle: Path, tmp_path: Path) -> None:
    times = [0, 1, 2, 7, 8, 20, 21, 22, 23, 40]
    clip = make_clip(tmp_path / "in.mp4", frames=10, times=times)
    restore_video(clip, tmp_path / "out.mp4", Model(tiny_bundle))
    before, after = read_clip(clip), read_clip(tmp_path / "out.mp4")
    assert before.times == after.times
    assert after.times[3] - after.times[2] == 5 * (after.times[1] - after.times[0])


def test_a_turned_video_is_shown_upright(tiny_bundle: Path, tmp_path: Path) -> None:
    """The bright corner at the top left comes to the top right."""
    clip = make_clip(tmp_path / "in.mp4", frames=3)
    turn_clockwise(clip)
    assert read_clip(clip).rotation == -90
    restore_video(clip, tmp_path / "out.mp4", Model(tiny_bundle))
    after = read_clip(tmp_path / "out.mp4")
    assert after.rotation == 0
    assert after.frames[0].shape == (96, 64, 3)
    expected = np.rot90(picture(0, 96, 64), -1)
    assert _psnr(after.frames[0], expected) > 30
    assert _psnr(after.frames[0], np.rot90(expected, 2)) < 20


def test_webm_and_what_it_cannot_hold(tiny_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=5)
    result = restore_video(clip, tmp_path / "out.webm", Model(tiny_bundle))
    assert [remark.text for remark in result.remarks] == [".webm cannot hold its audio (aac)"]
    assert len(read_clip(result.path).frames) == 5


def test_larger_results_and_odd_sides(tiny_bundle: Path, tmp_path: Path) -> None:
    class Double(Model):
        upscale = 3

        def restore(self, image: NDArray[Any]) -> NDArray[Any]:
            return image.repeat(3, axis=0).repeat(3, axis=1)[:, :]

    clip = make_clip(tmp_path / "in.mp4", frames=3, size=(66, 50))
    restore_video(clip, tmp_path / "out.mp4", Double(tiny_bundle))
    assert read_clip(tmp_path / "out.mp4").frames[0].shape == (150, 198, 3)


def test_a_killed_run_is_taken_up(tiny_bundle: Path, tmp_path: Path) -> None:
    """The result is the same, byte for byte, and finished frames are not restored again."""
    clip = make_clip(tmp_path / "in.mp4", frames=80)
    whole = Model(tiny_bundle)
    restore_video(clip, tmp_path / "whole.mp4", whole)
    assert whole.calls == 80

    def work(image: NDArray[Any]) -> NDArray[Any]:
        if killed.calls == 75:
            raise KeyboardInterrupt
        return image

    killed = Model(tiny_bundle, work)
    with pytest.raises(KeyboardInterrupt):
        restore_video(clip, tmp_path / "out.mp4", killed)
    assert not (tmp_path / "out.mp4").exists()
    assert (tmp_path / ".out.mp4.segments").is_dir()
    again = Model(tiny_bundle)
    result = restore_video(clip, tmp_path / "out.mp4", again)
    assert result.resumed in (32, 64)
    assert again.calls == 80 - result.resumed
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not (tmp_path / ".out.mp4.segments").exists()
    assert _left_over() == []


def test_another_request_begins_anew(tiny_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=40)

    def work(image: NDArray[Any]) -> NDArray[Any]:
        if model.calls == 40:
            time.sleep(0.5)  # for the first segment to be kept
            raise KeyboardInterrupt
        return image

    model = Model(tiny_bundle, work)
    with pytest.raises(KeyboardInterrupt):
        restore_video(clip, tmp_path / "out.mp4", model)
    other = Model(tiny_bundle)
    result = restore_video(clip, tmp_path / "out.mp4", other, seed=1)
    assert (result.resumed, other.calls) == (0, 40)
    assert "frames of another request" in result.remarks[0].text


def test_the_same_noise_for_every_frame(tiny_bundle: Path, tmp_path: Path) -> None:
    """A still picture stays still: the model's results are the same to the bit."""
    clip = make_clip(tmp_path / "in.mp4", frames=4, still=True, sound=False)
    restorer = Restorer(tiny_bundle, threads=1)
    still = read_clip(clip).frames
    seen = []

    class Watched(Model):
        def restore(self, image: NDArray[Any]) -> NDArray[Any]:
            seen.append(restorer.restore(still[0]))
            return restorer.restore(image)

    restore_video(clip, tmp_path / "out.mp4", Watched(tiny_bundle))
    assert all(np.array_equal(each, seen[0]) for each in seen)
    after = read_clip(tmp_path / "out.mp4").frames
    assert _psnr(after[0], after[3]) > 45


def test_memory_is_bounded(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow model is not run ahead of: at most the frames that may wait are decoded."""
    decoded, ahead = [0], []
    read = restore_module.VideoReader.read

    def counting(self: Any, skip: int) -> Any:
        for frame in read(self, skip):
            decoded[0] += 1
            yield frame

    monkeypatch.setattr(restore_module.VideoReader, "read", counting)

    def slow(image: NDArray[Any]) -> NDArray[Any]:
        time.sleep(0.01)
        ahead.append(decoded[0] - model.calls)
        return image

    model = Model(tiny_bundle, slow)
    clip = make_clip(tmp_path / "in.mp4", frames=60)
    result = restore_video(clip, tmp_path / "out.mp4", model)
    assert 0 < max(ahead) <= restore_module._WAITING + 2
    assert 0 < result.utilisation <= 1


def test_failures_are_one_line_and_leave_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=5)
    out = tmp_path / "out.mp4"

    def fails(source: Path, target: Path, match: str) -> None:
        with pytest.raises(VideoError, match=match) as caught:
            restore_video(source, target, Model(tiny_bundle))
        assert "\n" not in str(caught.value)
        assert not out.exists()

    fails(tmp_path / "no.mp4", out, "no video file .*no.mp4; fix: check the path")
    fails(clip, tmp_path / "out.gif", r"cannot write out.gif; got suffix '.gif'; expected one of")
    fails(clip, clip, "is an input: it would be written over")
    (tmp_path / "text.mp4").write_text("no video")
    fails(tmp_path / "text.mp4", out, "text.mp4 cannot be read")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:200])
    fails(tmp_path / "cut.mp4", out, "cut.mp4 cannot be read")

    def refuses(image: NDArray[Any]) -> NDArray[Any]:
        raise ImageError("too large")

    with pytest.raises(ImageError, match="too large"):
        restore_video(clip, out, Model(tiny_bundle, refuses))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mp4", "in.mp4", "text.mp4"]
    assert _left_over() == []


def test_a_failing_encoder_stops_all(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, frames: Any) -> Any:
        list(frames)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore_module.SegmentEncoder, "encode", full)
    clip = make_clip(tmp_path / "in.mp4", frames=60)
    with pytest.raises(OSError, match="No space left"):
        restore_video(clip, tmp_path / "out.mp4", Model(tiny_bundle))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert _left_over() == []


def test_without_the_package(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=2, sound=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match=r"needs PyAV.*fix: pip install 'elir-edge\[video\]'"):
        restore_video(clip, tmp_path / "out.mp4", Model(tiny_bundle))
