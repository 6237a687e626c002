"""Archives: each photo once, whatever dies; the ledger tells what became of it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.cli.app import app
from elir_edge.errors import ArchiveError, UsageError
from elir_edge.runtime.archive import Entry, Ledger, restore_archive, worker
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.archive.worker import PhotoWorker, Work, digest_of
from tests.conftest import Run

pytest.importorskip("ray", reason="needs the extra `ray`")
pytest.importorskip("pyarrow", reason="needs the extra `ray`")

_REQUEST = {"bundle": "x"}


def _photos(folder: Path, count: int, broken: int = 0) -> list[str]:
    """Write tiny photos in subfolders, of which the last ones are damaged; return those' names."""
    rng = np.random.default_rng(0)
    names = []
    for index in range(count):
        name = f"{index % 7}/{index:04d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        if index >= count - broken:
            path.write_bytes(path.read_bytes()[:50])
            names.append(name)
    return names


def _entry(photo: str, status: str = "done") -> Entry:
    return Entry(
        photo=photo,
        status=status,
        reason="" if status == "done" else "cannot be read",
        seconds=0.5,
        bytes_in=10,
        bytes_out=20,
        worker="m:1",
    )


def test_a_ledger_comes_back(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    ledger = Ledger(store, _REQUEST)
    assert ledger.photos() == set()
    rows = [_entry(f"a/{i}.png", "failed" if i == 3 else "done") for i in range(5)]
    assert ledger.add(rows[:3]) > 0
    again = Ledger(store, _REQUEST)
    again.add(rows[3:])
    assert list(Ledger(store, _REQUEST).entries()) == rows
    assert again.photos() == {row.photo for row in rows}
    with pytest.raises(UsageError, match="results of another request; got bundle x before and y"):
        Ledger(store, {"bundle": "y"})
    part = next((tmp_path / "out" / "_ledger").glob("part-*0.parquet"))
    part.write_bytes(part.read_bytes()[:-8])
    with pytest.raises(ArchiveError, match=r"part-00000000\.parquet of the ledger is damaged"):
        Ledger(store, _REQUEST).photos()


def test_files_without_a_ledger_are_not_results(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files, and no ledger"):
        Ledger(Store(str(tmp_path)), _REQUEST)


def test_stores(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a"))
    assert not store.is_folder()
    store.write("x/y.png", b"1")
    store.write("z.png", b"2")
    store.write(".hidden.png", b"3")
    assert list(store.names()) == ["z.png", "x/y.png"]
    assert (store.read("x/y.png"), store.exists("x"), store.local) == (b"1", True, True)
    assert store.holds(Store(str(tmp_path / "a" / "b")))
    assert store.holds(store)
    assert not store.holds(Store(str(tmp_path / "ab")))
    with pytest.raises(UsageError, match="not shared between processes"):
        Store("memory://photos")
    with pytest.raises(UsageError, match="nothing://x cannot be opened"):
        Store("nothing://x")


def _work(tmp_path: Path, bundle: Path) -> Work:
    return Work(
        source=str(tmp_path / "in"),
        target=str(tmp_path / "out"),
        task=None,
        bundle=str(bundle),
        digest=digest_of(bundle),
        seed=0,
        runtime=None,
    )


def test_a_worker(tiny_bundle: Path, tmp_path: Path) -> None:
    (broken,) = _photos(tmp_path / "in", 3, broken=1)
    one = PhotoWorker(_work(tmp_path, tiny_bundle))
    rows = one({"photo": ["0/0000.png", "1/0001.png", broken, "no.png"]})
    assert rows["status"] == ["done", "done", "failed", "failed"]
    assert broken in rows["reason"][2]
    assert "/tmp" not in rows["reason"][2]
    assert rows["bytes_out"][0] == (tmp_path / "out" / "0" / "0000.png").stat().st_size
    assert not (tmp_path / "out" / broken).exists()


def test_storage_that_fails_is_no_photo_s_fault(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _photos(tmp_path / "in", 1)

    def full(self: Store, name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    one = PhotoWorker(_work(tmp_path, tiny_bundle))
    monkeypatch.setattr(worker.Store, "write", full)
    with pytest.raises(ArchiveError, match=r"the storage fails .*No space left"):
        one.restore("0/0000.png")


def test_a_photo_that_kills_its_workers_is_given_up(tiny_bundle: Path, tmp_path: Path) -> None:
    _photos(tmp_path / "in", 2)
    work = _work(tmp_path, tiny_bundle)

    class Killed(BaseException):
        pass

    class Dying(PhotoWorker):
        def _restore(self, photo: str) -> tuple[int, int]:
            os._exit(1)

    second = PhotoWorker(work, lambda: True)
    assert second.restore("0/0000.png").status == "done"
    assert list((tmp_path / "out" / "_ledger").iterdir()) == []
    # A worker that took a dead one's place dies as well: its mark stays.
    child = os.fork()
    if child == 0:
        Dying(work, lambda: True).restore("1/0001.png")
    os.waitpid(child, 0)
    third = PhotoWorker(work, lambda: True).restore("1/0001.png")
    assert (third.status, "its worker died 2 times" in third.reason) == ("failed", True)


def test_refusals(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    with pytest.raises(UsageError, match="either a task or a bundle"):
        restore_archive(source, target)
    with pytest.raises(UsageError, match="no folder"):
        restore_archive(source, target, bundle=tiny_bundle)
    _photos(tmp_path / "in", 1)
    for bad in (source, f"{source}/below", str(tmp_path)):
        with pytest.raises(UsageError, match="lies among the photos"):
            restore_archive(source, bad, bundle=tiny_bundle)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="no images in"):
        restore_archive(str(tmp_path / "empty"), target, bundle=tiny_bundle)
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


def _children(name: bytes) -> list[int]:
    """Return the processes whose command line holds a name."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and name in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds workers by /proc")
def test_a_thousand_photos_with_a_worker_killed(tiny_bundle: Path, tmp_path: Path) -> None:
    """990 results, ten failures named, none twice, in two runs, the first of which is killed."""
    broken = _photos(tmp_path / "in", 1000, broken=10)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "elir_edge", "restore", str(tmp_path / "in"), str(out)]
    command += ["--engine", "ray", "--workers", "2", "--bundle", str(tiny_bundle)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def results() -> list[Path]:
        return [path for path in out.rglob("*.png") if not path.name.startswith(".")]

    def wait_for(count: int, process: subprocess.Popen[str]) -> None:
        ends = time.monotonic() + 300
        while len(results()) < count and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(results()) >= count, process.communicate()

    before = set(_children(b"_RayWorker"))
    process = start()
    wait_for(50, process)
    workers = set(_children(b"_RayWorker")) - before
    assert workers
    os.kill(min(workers), signal.SIGKILL)
    out_text, err = process.communicate(timeout=500)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "restored 990, failed 10, into" in out_text
    for name in broken:
        assert f"failed: {name}: " in out_text
    rows = list(Ledger(Store(str(out)), _request_of(out)).entries())
    assert Counter(row.status for row in rows) == {"done": 990, "failed": 10}
    assert max(Counter(row.photo for row in rows).values()) == 1
    assert sorted(row.photo for row in rows if row.status == "failed") == sorted(broken)
    assert len(results()) == 990
    assert {str(path.relative_to(out)) for path in results()} == {
        row.photo for row in rows if row.status == "done"
    }
    # A further run finds nothing to do.
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "restored 0, failed 0, 1000 by earlier runs" in again.stdout


@pytest.mark.slow
def test_a_killed_run_goes_on(tiny_bundle: Path, tmp_path: Path) -> None:
    """The program itself is killed: the next run restores what has no row, and no photo twice."""
    _photos(tmp_path / "in", 200)
    out = tmp_path / "out"
    kept = Ledger(Store(str(out)), {"x": 1})
    (out / "_ledger" / "request.json").unlink()
    # What a killed run leaves: rows of some, results of more.
    done = restore_archive(
        str(tmp_path / "in"), str(tmp_path / "first"), bundle=tiny_bundle, workers=2
    )
    assert (done.done, done.failed) == (200, ())
    first = tmp_path / "first"
    rows = list(Ledger(Store(str(first)), _request_of(first)).entries())
    ledger = first / "_ledger"
    for part in ledger.glob("*.parquet"):
        part.unlink()
    Ledger(Store(str(first)), _request_of(first)).add(rows[:120])
    whole = {path: path.read_bytes() for path in first.rglob("*.png")}
    again = restore_archive(str(tmp_path / "in"), str(first), bundle=tiny_bundle, workers=2)
    assert (again.done, again.before) == (80, 120)
    rows = list(Ledger(Store(str(first)), _request_of(first)).entries())
    assert len(rows) == len({row.photo for row in rows}) == 200
    assert {path: path.read_bytes() for path in first.rglob("*.png")} == whole
    assert kept.photos() == set()


def _request_of(out: Path) -> dict[str, Any]:
    import json

    content: dict[str, Any] = json.loads((out / "_ledger" / "request.json").read_text())
    return content
