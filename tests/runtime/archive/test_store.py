"""Folders by fsspec: what lies in them, and what is no photo."""

import os
from pathlib import Path
from typing import Any

import pytest

from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive import Ledger
from elir_edge.runtime.archive import store as module
from elir_edge.runtime.archive.store import Found, Store
from elir_edge.runtime.archive.worker import PhotoWorker
from tests.runtime.archive.photos import entry, work, write_photos

fsspec = pytest.importorskip("fsspec", reason="needs the extra `ray`")


def test_files(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a"))
    assert not store.is_folder()
    for name in ("x/y.png", "z.png", ".hidden.png", "x/.git/z.png", "x/b/c/d.png", "w/e.png"):
        store.write(name, name.encode())
    assert list(store.names()) == ["z.png", "w/e.png", "x/y.png", "x/b/c/d.png"]
    assert list(store.names("x")) == ["y.png", "b/c/d.png"]
    assert (store.read("x/y.png"), store.exists("x"), store.local) == (b"x/y.png", True, True)
    store.delete("x/y.png")
    store.delete("x/y.png")  # it need not be there
    store.delete("x/b")
    assert list(store.names()) == ["z.png", "w/e.png"]


def test_links_and_pipes(tmp_path: Path) -> None:
    """A worker that reads a pipe waits for ever; a folder that is linked to may hold itself."""
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"1")
    (folder / "link.png").symlink_to("photo.png")
    (folder / "broken.png").symlink_to("nothing.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.png")
    found = {each.name: each.readable for each in Store(str(folder)).entries()}
    assert found == {
        "photo.png": True,
        "link.png": True,
        "broken.png": False,
        "loop.png": False,
        "up": False,
        "pipe.png": False,
    }


def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "secret").mkdir(parents=True)
    store = Store(str(tmp_path / "a"))
    listed = store._fs.ls

    def ls(path: str, **options: Any) -> Any:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path, **options)

    monkeypatch.setattr(store._fs, "ls", ls)
    with pytest.raises(PermissionError, match="secret"):
        list(store.names())


def test_within(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a"))
    store.write("b/x.png", b"1")
    assert store.holds(Store(str(tmp_path / "a" / "b")))
    assert store.holds(store)
    assert not store.holds(Store(str(tmp_path / "ab")))
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a" / "b")
    assert store.holds(Store(str(tmp_path / "elsewhere")))


def test_protocols() -> None:
    with pytest.raises(UsageError, match="not shared between processes"):
        Store("memory://photos")
    with pytest.raises(UsageError, match="nothing://x cannot be opened"):
        Store("nothing://x")


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one process have its storage in memory, by the code for all that is not local."""
    monkeypatch.setattr(module, "_PER_PROCESS", ())
    fsspec.filesystem("memory").store.clear()


def test_a_worker_and_a_ledger_away_from_this_machine(
    in_memory: None, tiny_bundle: Path, tmp_path: Path
) -> None:
    (broken,) = write_photos(tmp_path / "in", 3, broken=1)
    source, target = Store("memory://photos"), Store("memory://restored")
    for path in (tmp_path / "in").rglob("*.png"):
        source.write(str(path.relative_to(tmp_path / "in")), path.read_bytes())
    source.write("notes.txt", b"no photo")
    names = [Found(name=name, readable=True) for name in ["notes.txt", "0/0000.png", "1/0001.png"]]
    assert list(source.entries())[:3] == names
    worker = PhotoWorker(work("memory://photos", "memory://restored", tiny_bundle))
    rows = [worker.restore(name) for name in ("0/0000.png", "1/0001.png", broken)]
    assert [row.status for row in rows] == ["done", "done", "failed"]
    assert list(target.names()) == ["0/0000.png", "1/0001.png"]
    local = PhotoWorker(work(tmp_path / "in", tmp_path / "out", tiny_bundle))
    local.restore("0/0000.png")
    assert target.read("0/0000.png") == (tmp_path / "out" / "0" / "0000.png").read_bytes()
    ledger = Ledger(Store("memory://ledger"), {"x": 1})
    with ledger.locked():
        ledger.add([entry("a.png")])
    assert Ledger(Store("memory://ledger"), {"x": 1}).photos() == ({"a.png"}, set())


def test_an_account_without_rights_is_no_photo_s_fault(
    in_memory: None, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> bytes:
        raise PermissionError(13, "Access Denied")

    worker = PhotoWorker(work("memory://photos", "memory://restored", tiny_bundle))
    monkeypatch.setattr(worker._source, "read", refuse)
    with pytest.raises(ArchiveError, match="Access Denied"):
        worker.restore("a.png")


def test_storage_that_only_reads(in_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://restored")

    def refuse(path: str, content: bytes) -> None:
        raise NotImplementedError

    monkeypatch.setattr(store._fs, "pipe_file", refuse)
    with pytest.raises(UsageError, match="memory://restored cannot be written to; fix: pass"):
        store.write("a.png", b"")


def test_errors_of_a_protocol_s_package(in_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials, for example, are no OSError in S3's package."""
    import binascii

    monkeypatch.setitem(module._SDK_ERRORS, "memory", ("binascii", "Error"))
    store = Store("memory://photos")

    def refuse(path: str, **options: Any) -> Any:
        raise binascii.Error("Unable to locate credentials")

    monkeypatch.setattr(store._fs, "ls", refuse)
    with pytest.raises(OSError, match="Unable to locate credentials"):
        list(store.names())
