"""A worker: what is a photo's fault gets a row, what is the machine's ends the run."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.errors import ArchiveError, BundleError, ImageError
from elir_edge.runtime import FileResult, Remark, Restorer
from elir_edge.runtime.archive import worker as module
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.archive.worker import PhotoWorker, deaths_folder
from tests.runtime.archive.photos import work, write_photos

pytest.importorskip("fsspec", reason="needs the extra `ray`")


@pytest.fixture
def worker(tiny_bundle: Path, tmp_path: Path) -> PhotoWorker:
    """Return a worker on three photos, the last of which is damaged."""
    write_photos(tmp_path / "in", 3, broken=1)
    return PhotoWorker(work(tmp_path / "in", tmp_path / "out", tiny_bundle))


def test_rows(worker: PhotoWorker, tmp_path: Path) -> None:
    rows = [worker.restore(name) for name in ("0/0000.png", "1/0001.png", "2/0002.png", "no.png")]
    assert [row.status for row in rows] == ["done", "done", "failed", "failed"]
    assert "2/0002.png" in rows[2].reason
    assert tempfile.gettempdir() not in rows[2].reason
    assert rows[3].reason == "no.png was renamed or deleted"
    assert rows[0].bytes_out == (tmp_path / "out" / "0" / "0000.png").stat().st_size
    assert rows[0].bytes_in == (tmp_path / "in" / "0" / "0000.png").stat().st_size
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.png")) == ["0000.png", "0001.png"]


def test_what_is_not_kept_is_in_the_row(worker: PhotoWorker, tmp_path: Path) -> None:
    """What a file loses in words; what the photo is unlike, by its kind alone."""
    flat = Image.fromarray(np.full((64, 64, 3), 99, np.uint8))
    flat.save(tmp_path / "in" / "a.bmp")
    assert worker.restore("a.bmp").remarks == "clean"
    exif = Image.Exif()
    exif[271] = "camera"
    flat.save(tmp_path / "in" / "b.gif")
    row = worker.restore("b.gif")
    assert row.remarks.split("; ") == ["clean", "colours are reduced to 256 in .gif"]


@pytest.mark.parametrize(
    ("raised", "match"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (ModuleNotFoundError("no pillow_heif"), "cannot be restored"),
    ],
)
def test_a_machine_s_fault_is_no_photo_s(
    raised: Exception, match: str, worker: PhotoWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a full scratch folder, which the image's writer tells as an error of the image."""

    def fails(self: Restorer, source: Path, target: Path) -> FileResult:
        raise ImageError(f"cannot be restored ({raised})") from raised

    monkeypatch.setattr(Restorer, "restore_file", fails)
    with pytest.raises(ArchiveError, match=match):
        worker.restore("0/0000.png")


def test_storage_that_fails_is_no_photo_s_fault(
    worker: PhotoWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError(28, "No space left on device"), FileNotFoundError(2, "no such bucket")):

        def fails(self: Store, name: str, content: bytes, error: OSError = error) -> None:
            raise error

        monkeypatch.setattr(module.Store, "write", fails)
        with pytest.raises(ArchiveError, match=f"the storage fails .*{error.strerror}"):
            worker.restore("0/0000.png")


def test_a_photo_without_rights_or_too_large_for_the_memory(
    worker: PhotoWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(self: Store, name: str) -> bytes:
        raise PermissionError(13, "Permission denied", name)

    def too_large(self: Restorer, source: Path, target: Path) -> FileResult:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(module.Store, "read", refuses)
        assert worker.restore("0/0000.png").reason == (
            "0/0000.png cannot be read (Permission denied)"
        )
    monkeypatch.setattr(Restorer, "restore_file", too_large)
    row = worker.restore("0/0000.png")
    assert (row.status, row.reason) == ("failed", "there is not enough memory for it")


def test_a_photo_that_kills_its_workers_is_given_up(tiny_bundle: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 2)
    asked = work(tmp_path / "in", tmp_path / "out", tiny_bundle)

    class Dying(PhotoWorker):
        def _read(self, photo: str) -> bytes:
            os._exit(1)

    def die() -> None:
        child = os.fork()
        if child == 0:
            try:
                Dying(asked, lambda: True).restore("1/0001.png")
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1

    marks = tmp_path / "out" / deaths_folder(asked.run)
    replacing = PhotoWorker(asked, lambda: True)
    assert replacing.restore("0/0000.png").status == "done"
    assert list(marks.iterdir()) == []
    # A worker that took a dead one's place dies as well, and another: their marks stay.
    die()
    die()
    row = PhotoWorker(asked, lambda: True).restore("1/0001.png")
    assert row.status == "failed"
    assert row.reason == "1/0001.png: 2 workers died while they restored it"
    # One death may have another reason; and those of another run are none of this one's.
    for mark in marks.iterdir():
        mark.write_bytes(b"x")
    assert PhotoWorker(asked, lambda: True).restore("1/0001.png").status == "done"


def test_another_bundle_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    asked: Any = work(tmp_path / "in", tmp_path / "out", tiny_bundle)
    object.__setattr__(asked, "digest", "0" * 64)
    with pytest.raises(BundleError, match="has another bundle in"):
        PhotoWorker(asked)


def test_remarks_of_one_kind_are_said_once(
    worker: PhotoWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_file = Restorer.restore_file

    def remarking(self: Restorer, source: Path, target: Path) -> FileResult:
        restore_file(self, source, target)
        remarks = [Remark(kind="jpeg", text="1"), Remark(kind="jpeg", text="2")]
        return FileResult(path=target, remarks=tuple(remarks))

    monkeypatch.setattr(Restorer, "restore_file", remarking)
    assert worker.restore("0/0000.png").remarks == "jpeg"
