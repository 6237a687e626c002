"""Archives, with a worker of this process in a cluster's place: what is found, done and told."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from elir_edge.cli.app import app
from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive import Entry, Ledger, engine, restore_archive
from elir_edge.runtime.archive.cluster import _reason, number_of_blocks
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.archive.worker import PhotoWorker, Work
from tests.conftest import Run
from tests.runtime.archive.photos import write_photos

pytest.importorskip("fsspec", reason="needs the extra `ray`")
pytest.importorskip("pyarrow", reason="needs the extra `ray`")


class Here:
    """Stands in for a cluster: one worker, in this process."""

    started = 0
    die_after: int | None = None

    def __init__(self, address: str | None, workers: int | None) -> None:
        self.workers, self._asked = 0, workers

    def __enter__(self) -> "Here":
        self.workers = self._asked or 1
        type(self).started += 1
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def restore(self, names: Sequence[str], work: Work) -> Iterator[Entry]:
        worker = PhotoWorker(work)
        for done, name in enumerate(names):
            if done == self.die_after:
                raise KeyboardInterrupt
            yield worker.restore(name)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> type[Here]:
    """Put the worker of this process in the cluster's place."""
    here = type("HereAlone", (Here,), {})
    monkeypatch.setattr(engine, "Cluster", here)
    return here


def _rows(out: Path) -> list[Entry]:
    import json

    request = json.loads((out / "_ledger" / "_request.json").read_text())
    return list(Ledger(Store(str(out)), request).entries())


def test_an_archive(here: type[Here], tiny_bundle: Path, tmp_path: Path) -> None:
    (broken,) = write_photos(tmp_path / "in", 9, broken=1)
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    (tmp_path / "in" / "0" / "down").symlink_to("..")
    source, out = str(tmp_path / "in"), tmp_path / "out"
    shown: list[tuple[int, int]] = []
    result = restore_archive(
        source, str(out), bundle=tiny_bundle, progress=lambda *counts: shown.append(counts)
    )
    assert (result.done, [row.photo for row in result.failed]) == (8, [broken])
    assert (result.before, result.failed_before, result.workers) == (0, 0, 1)
    assert result.others == ("notes.txt", "0/down")
    assert (shown[0], shown[-1]) == ((0, 9), (9, 9))
    assert len([path for path in out.rglob("*.png")]) == 8
    # Nothing is left to do: no cluster is started.
    again = restore_archive(source, str(out), bundle=tiny_bundle)
    assert (again.done, again.failed, again.before, again.failed_before) == (0, (), 9, 1)
    assert (again.workers, here.started) == (0, 1)
    # A photo that comes later is found.
    (tmp_path / "in" / "new.png").write_bytes((tmp_path / "in" / "0" / "0000.png").read_bytes())
    later = restore_archive(source, str(out), bundle=tiny_bundle)
    assert (later.done, later.before) == (1, 9)
    assert max(Counter(row.photo for row in _rows(out)).values()) == 1


def test_a_run_that_is_interrupted_is_taken_up(
    here: type[Here], tiny_bundle: Path, tmp_path: Path
) -> None:
    write_photos(tmp_path / "in", 9)
    source, out = str(tmp_path / "in"), tmp_path / "out"
    here.die_after = 5
    with pytest.raises(KeyboardInterrupt):
        restore_archive(source, str(out), bundle=tiny_bundle)
    assert len(_rows(out)) == 5
    left = out / "0" / ".0000.png.0123456789abcdef.png"  # of a killed worker
    left.write_bytes(b"half")
    here.die_after = None
    with pytest.raises(UsageError, match="another request; got seed 0 before and 1 now"):
        restore_archive(source, str(out), bundle=tiny_bundle, seed=1)
    result = restore_archive(source, str(out), bundle=tiny_bundle)
    assert (result.done, result.before) == (4, 5)
    assert Counter(row.photo for row in _rows(out)) == Counter(
        str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*.png")
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_in_old_encodings_are_told(
    here: type[Here], tiny_bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    """One of them would end the whole run: neither Ray nor Parquet has such names."""
    write_photos(tmp_path / "in", 2)
    photo = tmp_path / "in" / "0" / "0000.png"
    photo.rename(photo.with_name("caf\udce9.png"))
    options = ("--engine", "ray", "--bundle", tiny_bundle)
    done = run_any(app, "restore", tmp_path / "in", tmp_path / "out", *options)
    assert done.code == 1, done.err
    assert "failed: 0/caf\\udce9.png: its name is no UTF-8" in done.out
    assert "restored 1, failed 1, into" in done.out
    done = run_any(app, "restore", tmp_path / "in", tmp_path / "out", *options)
    assert (done.code, done.err) == (0, "")
    assert "restored 0, failed 0, 2 by earlier runs (of which 1 failed), into" in done.out


def test_files_that_are_no_photos_are_told(
    here: type[Here], tiny_bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    write_photos(tmp_path / "in", 1)
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    options = ("--engine", "ray", "--bundle", tiny_bundle)
    done = run_any(app, "restore", tmp_path / "in", tmp_path / "out", *options)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "skipped 1 (no image): notes.txt"
    assert "restored 1, failed 0, into" in done.out


def test_storage_that_fails_is_one_line(
    here: type[Here], tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "in", 1)

    def full(self: Store, name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write", full)
    with pytest.raises(ArchiveError, match=r"the storage fails .*No space left"):
        restore_archive(str(tmp_path / "in"), str(tmp_path / "out"), bundle=tiny_bundle)


def test_refusals(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    with pytest.raises(UsageError, match="either a task or a bundle"):
        restore_archive(source, target)
    with pytest.raises(UsageError, match="no folder"):
        restore_archive(source, target, bundle=tiny_bundle)
    write_photos(tmp_path / "in", 1)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for bad in (source, f"{source}/below", str(tmp_path), str(tmp_path / "link")):
        with pytest.raises(UsageError, match="lies among the photos"):
            restore_archive(source, bad, bundle=tiny_bundle)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="no images in"):
        restore_archive(str(tmp_path / "empty"), target, bundle=tiny_bundle)
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArchiveError, match=r"need ray.*fix: pip install 'elir-edge\[ray\]'"):
        restore_archive(source, target, bundle=tiny_bundle)


def test_options_that_contradict(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    def fails(*options: object) -> str:
        arguments = (tmp_path, tmp_path / "o", "--bundle", tiny_bundle, *options)
        done = run_any(app, "restore", *arguments)
        assert done.code == 2
        return done.err

    assert "are for --engine ray" in fails("--workers", "2")
    assert "are not for --engine ray" in fails("--engine", "ray", "--force")
    assert "are not for --engine ray" in fails("--engine", "ray", "--threads", "2")


def test_a_worker_s_own_error_is_found_in_ray_s_report() -> None:
    report = """ray::MapWorker(MapBatches(_RayWorker)).submit() (pid=1)
  File "worker.py", line 7, in __call__
    raise ValueError("wrong")
ValueError: wrong

The above exception was the direct cause of the following exception:

ray.exceptions.UserCodeException: UDF failed to process a data block.
To change retry attempts, configure it."""
    assert _reason(Exception(report)) == "ValueError: wrong"
    assert _reason(Exception("")) == "Exception"
    named: Any = Exception("The node died.")
    assert _reason(named) == "The node died."


@pytest.mark.parametrize(("photos", "blocks"), [(0, 1), (1, 1), (16, 1), (17, 2), (1000, 63)])
def test_blocks_hold_up_to_sixteen_photos(photos: int, blocks: int) -> None:
    assert number_of_blocks(photos) == blocks
