"""`elir-edge restore` on video, and `--watch`."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.cli.app import app
from elir_edge.cli.restoring.watch import PATIENCE_SECONDS, Arrivals, watch
from elir_edge.errors import ImageError, UsageError
from elir_edge.runtime import FileResult, Restorer
from tests.conftest import Run
from tests.runtime.video.clips import make_clip, read_clip


def test_a_clip(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra `video`")
    clip, out = make_clip(tmp_path / "in.mp4", frames=6), tmp_path / "out.mp4"

    def run(target: Path, *options: object) -> Any:
        return run_any(app, "restore", clip, target, "--bundle", tiny_bundle, *options)

    done = run(out)
    assert done.code == 0, done.err
    assert f"restored 6 frames into {out}: " in done.out
    assert "the model ran " in done.out
    assert len(read_clip(out).frames) == 6
    kept = out.read_bytes()
    assert (run(out).code, out.read_bytes()) == (2, kept)
    assert run(out, "--force").code == 0
    done = run(clip, "--force")
    assert (done.code, "it would be written over" in done.err) == (2, True)
    assert "--mask is for photos" in run(tmp_path / "a.mp4", "--mask", clip).err
    assert "--faces is for photos" in run(tmp_path / "a.mp4", "--faces").err
    done = run(tmp_path / "a.xyz")
    assert (done.code, "expected one of .mp4 .m4v .mov .mkv .webm; fix: name" in done.err) == (
        1,
        True,
    )
    done = run(out, "--skip-existing")
    assert (done.code, done.out) == (0, "skipped 1 (restored before): in.mp4\n")


def test_an_interrupted_clip_says_how_to_go_on(
    run_any: Run, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="needs the extra `video`")
    from elir_edge.runtime.video import restore as module

    monkeypatch.setattr(module, "SEGMENT_FRAMES", 2)
    clip, out, calls = make_clip(tmp_path / "in.mp4", frames=20), tmp_path / "out.mp4", [0]
    restore = Restorer.restore

    def interrupted(self: Restorer, image: Any) -> Any:
        calls[0] += 1
        if calls[0] == 15:
            raise KeyboardInterrupt
        return restore(self, image)

    monkeypatch.setattr(Restorer, "restore", interrupted)
    leftover = tmp_path / ".out.mp4.0123456789abcdef.mp4"
    leftover.write_bytes(b"half")
    os.utime(leftover, (1, 1))
    command = (app, "restore", clip, out, "--bundle", tiny_bundle)
    done = run_any(*command)
    assert done.code == 130
    assert ".out.mp4.segments keeps the frames that are done: run this again" in done.err
    done = run_any(*command)
    assert done.code == 0, done.err
    assert " by an earlier run) into " in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def _photo(path: Path, value: int = 99) -> None:
    Image.fromarray(np.full((12, 12, 3), value, np.uint8)).save(path)


def test_only_complete_photos_are_taken(tmp_path: Path) -> None:
    source, target, clock = tmp_path / "in", tmp_path / "out", [0.0]
    source.mkdir()
    arrivals = Arrivals(source, target, recursive=False, now=lambda: clock[0])
    assert list(arrivals.ready()) == []
    photo = source / "a.png"
    photo.write_bytes(b"")
    assert list(arrivals.ready()) == []
    assert list(arrivals.ready()) == []  # empty: not begun
    photo.write_bytes(b"half")
    assert list(arrivals.ready()) == []  # has changed
    assert list(arrivals.ready()) == [(photo, target / "a.png")]
    assert not arrivals.failed(photo)
    photo.write_bytes(b"more of it")
    assert list(arrivals.ready()) == []
    clock[0] = PATIENCE_SECONDS + 1
    assert [p.name for p, _ in arrivals.ready()] == ["a.png"]
    assert arrivals.failed(photo)  # told once
    assert list(arrivals.ready()) == []
    _photo(photo)  # and another chance when it changes
    assert list(arrivals.ready()) == []
    assert len(list(arrivals.ready())) == 1
    target.mkdir()
    _photo(target / "a.png")
    assert list(arrivals.ready()) == []
    (source / ".hidden.png").write_bytes(b"x")
    (source / "b.png.part").write_bytes(b"x")
    (source / "link.png").symlink_to("nowhere.png")
    os.mkfifo(source / "pipe.png")  # which has no end, and is never read
    assert list(arrivals.ready()) == []
    assert list(arrivals.ready()) == []
    # What is done or gone is not remembered: a folder may be watched for years.
    (source / "pipe.png").unlink()
    assert list(arrivals.ready()) == []
    assert (arrivals._seen, arrivals._given_up) == ({}, {})


def _waits(*steps: Callable[[], None]) -> Callable[[], None]:
    """Return what waits: it takes the steps, one each time, and then presses Ctrl-C."""
    remaining = iter(steps)

    def wait() -> None:
        step = next(remaining, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    return wait


def _copy(photo: Path, result: Path, **options: object) -> FileResult:
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_bytes(photo.read_bytes())
    return FileResult(path=result, remarks=())


def test_folders_that_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        _photo(source / name)
    wait = _waits(
        lambda: shutil.rmtree(source / "sub"),
        lambda: _photo(source / "c.png"),
        lambda: os.rename(source / "c.png", source / "d.png"),
        lambda: None,
        lambda: None,
    )
    watch(_copy, source, target, recursive=True, wait=wait)
    assert sorted(path.name for path in target.rglob("*.png")) == ["a.png", "d.png"]
    assert "restored 2, failed 0; no longer" in capsys.readouterr().out


def test_a_folder_that_cannot_be_listed_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    (source / "secret").mkdir(parents=True)
    _photo(source / "a.png")
    listed = Path.iterdir

    def iterdir(self: Path) -> Any:
        if self.name == "secret":
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    wait = _waits(*[lambda: None] * 3)
    watch(_copy, source, tmp_path / "out", recursive=True, wait=wait)
    done = capsys.readouterr()
    assert "restored 1, failed 0" in done.out
    assert done.err.count("secret cannot be listed (Permission denied)") == 1


def test_a_watched_folder_that_goes_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    with pytest.raises(ImageError, match=r"in is gone; fix: start again"):
        watch(_copy, source, tmp_path / "out", recursive=False, wait=_waits(source.rmdir))
    assert "no longer watching" in capsys.readouterr().out


def test_a_full_disk_ends_the_watch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no photo's fault: none is given up for it."""
    _photo(tmp_path / "a.png")

    def full(photo: Path, result: Path, **options: object) -> FileResult:
        raise ImageError(f"cannot write {result}") from OSError(28, "No space left on device")

    with pytest.raises(ImageError, match=r"cannot write .*a\.png"):
        watch(full, tmp_path, tmp_path / "out", recursive=False, wait=_waits(*[lambda: None] * 3))
    assert "restored 0, failed 0" in capsys.readouterr().out


def test_watching_until_interrupted(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    _photo(source / "first.png")
    whole = (source / "first.png").read_bytes()
    steps = iter(range(7))

    def wait() -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        if step == 1:
            (source / "second.png").write_bytes(whole[:40])
        if step == 4:
            (source / "second.png").write_bytes(whole)

    restorer = Restorer(tiny_bundle, threads=1)
    watch(restorer.restore_file, source, target, recursive=False, wait=wait)
    assert sorted(p.name for p in target.iterdir()) == ["first.png", "second.png"]
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("watching ")
    assert out[-1] == f"restored 2, failed 0; no longer watching {source}"


def test_a_broken_photo_is_told_when_nothing_more_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from elir_edge.cli.restoring import watch as module

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    (tmp_path / "a.png").write_bytes(b"never")
    calls = []

    def fails(photo: Path, result: Path, **options: object) -> FileResult:
        calls.append(photo)
        raise ImageError(f"{photo} cannot be read")

    waits = iter(range(4))

    def wait() -> None:
        if next(waits, None) is None:
            raise KeyboardInterrupt

    watch(fails, tmp_path, tmp_path / "out", recursive=False, wait=wait)
    assert len(calls) == 1
    assert "a.png cannot be read" in capsys.readouterr().out


def test_what_cannot_be_watched(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    options = ("--bundle", tiny_bundle, "--watch")
    done = run_any(app, "restore", tmp_path / "a.png", tmp_path / "out", *options)
    assert (done.code, "is no folder; fix: --watch is for folders" in done.err) == (2, True)
    done = run_any(app, "restore", tmp_path, tmp_path / "out", *options, "--force")
    assert (done.code, "--watch allows neither" in done.err) == (2, True)
    with pytest.raises(UsageError, match="among the inputs"):
        watch(lambda *a, **k: None, tmp_path, tmp_path, recursive=False)  # type: ignore[arg-type]


@pytest.mark.slow
def test_ctrl_c_ends_the_command(tiny_bundle: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    command = [sys.executable, "-m", "elir_edge", "restore", str(source), str(target), "--watch"]
    process = subprocess.Popen(
        [*command, "--bundle", str(tiny_bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background may have been told to ignore SIGINT, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"watching")
    _photo(source / "a.png")
    ends = time.monotonic() + 60
    while not (target / "a.png").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"restored 1, failed 0" in out
    assert b"Traceback" not in err


@pytest.mark.slow
def test_a_killed_command_is_taken_up(tiny_bundle: Path, tmp_path: Path) -> None:
    """By SIGKILL, as soon as the first segment is kept."""
    pytest.importorskip("av", reason="needs the extra `video`")
    clip, out = make_clip(tmp_path / "in.mp4", frames=400, size=(256, 192)), tmp_path / "out.mp4"
    command = [sys.executable, "-m", "elir_edge", "restore", str(clip), str(out)]
    command += ["--bundle", str(tiny_bundle), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    segment = tmp_path / ".out.mp4.segments" / "000000.packets"
    ends = time.monotonic() + 120
    while not segment.exists() and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert segment.exists()
    assert not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "by an earlier run)" in done.stdout
    before, after = read_clip(clip), read_clip(out)
    assert (before.times, before.sound) == (after.times, after.sound)
    assert len(after.times) == 400
