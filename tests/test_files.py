"""A file or folder is replaced whole or not at all."""

import os
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from elir_edge.errors import ImageError
from elir_edge.files import replacing_file, replacing_folder, sha256_of, write_whole
from elir_edge.runtime.images import SUFFIXES, Picture, write_picture


def _write_half(path: Path, failure: type[BaseException]) -> None:
    path.write_text("half")
    raise failure


def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    with replacing_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_gets_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    """The standard library's temporary files are private; what takes a place must not be."""
    plain = tmp_path / "plain"
    plain.touch()
    with replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
    (tmp_path / "plain-folder").mkdir()
    with replacing_folder(tmp_path / "folder"):
        pass
    modes = [(tmp_path / name).stat().st_mode for name in ("folder", "plain-folder")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), replacing_file(path) as temporary:
        _write_half(temporary, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_permissions_of_the_file_before_stay(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write_whole(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """On a real disk of 64 KiB, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        path = disk / "a.tiff"
        write_whole(path, b"old")
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, bytes(1 << 20))
        assert path.read_bytes() == b"old"
        assert list(disk.iterdir()) == [path]
        noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
        for suffix in SUFFIXES:
            with pytest.raises(ImageError, match="No space left"):
                write_picture(disk / f"b{suffix}", Picture(pixels=noise))
        assert list(disk.iterdir()) == [path]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_in_the_file_s_place_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"), replacing_file(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    assert (tmp_path / "a").is_dir()


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bundle"
    with replacing_folder(path) as temporary:
        (temporary / "a").write_text("new")
        assert not path.exists()
    assert (path / "a").read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_success_replaces_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    with replacing_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert [p.name for p in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_folder(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(failure), replacing_folder(path) as temporary:
        _write_half(temporary / "new", failure)
    assert (path / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_of_the_last_move_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two moves replace a folder; a failure between them must not lose both."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    moves: list[Path] = []
    real = os.replace

    def second_fails(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 2:
            raise OSError("refused")
        real(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="refused"), replacing_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert (path / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", [1, 2])
def test_a_signal_right_after_a_move_leaves_one_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").touch()
    _interrupt_after(monkeypatch, os, "replace", call)
    with pytest.raises(SystemExit), replacing_folder(path) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in path.iterdir()] == [["old", "new"][call - 1]]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", [1, 2])
def test_a_signal_right_after_a_folder_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The first moments at which there is something to leave behind."""
    _interrupt_after(monkeypatch, os, "mkdir", call)
    with pytest.raises(SystemExit), replacing_folder(tmp_path / "bundle"):
        pass
    assert not list(tmp_path.iterdir())


def _interrupt_after(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, call: int
) -> None:
    """Raise what a signal raises right after a call by number of a function that succeeds."""
    real = getattr(module, name)
    done: list[None] = []

    def interrupted(*arguments: object) -> None:
        real(*arguments)
        done.append(None)
        if len(done) == call:
            raise SystemExit

    monkeypatch.setattr(module, name, interrupted)


def test_sha256(tmp_path: Path) -> None:
    """Against the value that FIPS 180-2 gives for `abc`."""
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == expected
    path.write_bytes(b"abd")
    assert sha256_of(path) != expected
